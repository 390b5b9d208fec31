//! The database in SQLite: a table of headers, and one for each index.
//!
//! Specification: rpm's `lib/backend/sqlite.c`.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};

use super::keys::{TABLES, Table};
use super::{Error, Row};

/// Tables whose rows are never looked for by package.
const WITHOUT_PACKAGE_INDEX: [&str; 5] = ["Name", "Group", "Installtid", "Sigmd5", "Sha1header"];

/// The bytes of `rpmdb.sqlite`.
pub(super) fn database(
    headers: &[Vec<u8>],
    tables: &[(&Table, Vec<Row>)],
) -> Result<Vec<u8>, Error> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA page_size = 4096; BEGIN")?;
    make_tables(&connection)?;
    let mut insert = connection.prepare("INSERT INTO 'Packages' VALUES (?, ?)")?;
    for (number, header) in (1_u32..).zip(headers) {
        insert.execute(params![number, header])?;
    }
    drop(insert);
    for (table, rows) in tables {
        let sql = format!("INSERT INTO '{}' VALUES (?, ?, ?)", table.name);
        let mut insert = connection.prepare(&sql)?;
        for Row { key, number, place } in rows {
            let key = if table.is_text() { ValueRef::Text(key) } else { ValueRef::Blob(key) };
            insert.execute(params![ToSqlOutput::Borrowed(key), number, place])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    let mut bytes = connection.serialize("main")?.to_vec();
    // Written and read with a write-ahead log, as rpm has it (SQLite's file format, section 1.3).
    if let Some(versions) = bytes.get_mut(18..20) {
        versions.fill(2);
    }
    Ok(bytes)
}

fn make_tables(connection: &Connection) -> Result<(), Error> {
    let mut sql = String::from(
        "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL);",
    );
    for table in &TABLES {
        let (name, kind) = (table.name, if table.is_text() { "TEXT" } else { "BLOB" });
        sql.push_str(&format!(
            "CREATE TABLE '{name}' (key '{kind}' NOT NULL, hnum INTEGER NOT NULL, \
             idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));"
        ));
        if table.is_text() {
            let index = format!("CREATE INDEX '{name}_key_idx' ON '{name}'(key ASC);");
            sql.push_str(&index);
        }
        if !WITHOUT_PACKAGE_INDEX.contains(&name) {
            let index = format!("CREATE INDEX '{name}_hnum_idx' ON '{name}'(hnum ASC);");
            sql.push_str(&index);
        }
    }
    Ok(connection.execute_batch(&sql)?)
}
