//! `adduser --system` and `groupadd`: users and groups that packages have; see adduser(8).

use super::accounts::{self, GROUP, GSHADOW, PASSWD, SHADOW};
use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};

/// Numbers of users and groups of the system (adduser.conf(5)).
const NUMBERS: std::ops::RangeInclusive<u32> = 100..=999;
const NOGROUP: u32 = 65_534;

pub(super) fn adduser(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "- system|- group|- quiet|-: comment|-: gecos|-: home|- no-create-home|- disabled-password|- disabled-login|- force-badname|- allow-bad-names|- allow-badname|-: ingroup|-: shell|-: uid|-: gid";
    let options = call.options(spec)?;
    let name = match options.operands.as_slice() {
        [name] if options.has("system") => name.clone(),
        [user, group] if !options.has("system") => return join(shell, call, user, group),
        _ => return Err(call.unknown(&call.arguments.join(" "))),
    };
    if accounts::has(shell, PASSWD, &name) {
        return Ok(0);
    }
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("adduser: {}", fault.text())) };
    let gid = match (options.value("ingroup"), options.has("group")) {
        (Some(group), _) => shell.number_of(GROUP, group).ok_or_else(|| call.unknown(group))?,
        (None, true) => match shell.number_of(GROUP, &name) {
            Some(gid) => gid,
            None => make_group(shell, &name, None).map_err(failed)?,
        },
        (None, false) => NOGROUP,
    };
    let given = options.value("uid").and_then(|text| text.parse().ok());
    let taken = accounts::numbers(shell, PASSWD);
    let free = given.or_else(|| NUMBERS.into_iter().find(|number| !taken.contains(number)));
    let uid = free.ok_or_else(|| call.unknown("has no number left"))?;
    let home = options.value("home").unwrap_or("/nonexistent").to_owned();
    let login = options.value("shell").unwrap_or("/usr/sbin/nologin").to_owned();
    let line = |comment: &str| format!("{name}:x:{uid}:{gid}:{comment}:{home}:{login}");
    accounts::add(shell, PASSWD, &line("")).map_err(failed)?;
    let today = accounts::today(shell);
    if shell.world.text(SHADOW).is_some() {
        accounts::add(shell, SHADOW, &format!("{name}:!:{today}::::::")).map_err(failed)?;
    }
    if let Some(comment) = options.value("comment").or_else(|| options.value("gecos")) {
        let text = shell.world.text(PASSWD).unwrap_or_default();
        // Older ones let `chfn` write it, with the fields that nobody gave.
        let script = shell.world.text("/usr/sbin/adduser").unwrap_or_default();
        let tail = if script.contains("$chfn, '-f'") { ",,," } else { "" };
        let new = text.replace(&line(""), &line(&format!("{comment}{tail}")));
        accounts::replace(shell, PASSWD, &new).map_err(failed)?;
    }
    let wanted = !options.has("no-create-home") && home != "/nonexistent";
    if wanted && shell.file(&home, true).is_none() {
        let place = shell.world.make_directories(&home, 0o755).map_err(failed)?;
        if let Some(inode) = shell.world.tree.get_mut(&place) {
            (inode.meta.uid, inode.meta.gid) = (uid, gid);
        }
    }
    Ok(0)
}

/// Makes a group; returns its number.
fn make_group(shell: &mut Shell<'_, '_>, name: &str, given: Option<u32>) -> Result<u32, Fault> {
    let taken = accounts::numbers(shell, GROUP);
    let free = given.or_else(|| NUMBERS.into_iter().find(|number| !taken.contains(number)));
    let gid = free.ok_or(Fault::Invalid)?;
    accounts::add(shell, GROUP, &format!("{name}:x:{gid}:"))?;
    if shell.world.text(GSHADOW).is_some() {
        accounts::add(shell, GSHADOW, &format!("{name}:!::"))?;
    }
    Ok(gid)
}

/// `adduser USER GROUP`
fn join(shell: &mut Shell<'_, '_>, call: &Call, user: &str, group: &str) -> Flow {
    if !accounts::has(shell, PASSWD, user) || !accounts::has(shell, GROUP, group) {
        return Ok(1);
    }
    for (list, members) in [(GROUP, 3), (GSHADOW, 3)] {
        let Some(text) = shell.world.text(list) else { continue };
        let changed = text.lines().map(|line| {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            if let (Some(name), Some(all)) = (fields.first().cloned(), fields.get_mut(members))
                && name == group
                && !all.split(',').any(|member| member == user)
            {
                *all = if all.is_empty() { user.to_owned() } else { format!("{all},{user}") };
            }
            fields.join(":") + "\n"
        });
        let changed: String = changed.collect();
        accounts::replace(shell, list, &changed).map_err(|fault| call.unknown(fault.text()))?;
    }
    Ok(0)
}

pub(super) fn groupadd(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("g: gid|r system|f force|- quiet|- force-badname")?;
    let [name] = options.operands.as_slice() else {
        return Err(call.unknown(&call.arguments.join(" ")));
    };
    if accounts::has(shell, GROUP, name) {
        return Ok(if options.has("force") || call.name == "addgroup" { 0 } else { 9 });
    }
    if !options.has("system") && options.value("gid").is_none() {
        return Err(call.unknown("without --system"));
    }
    let given = options.value("gid").and_then(|text| text.parse().ok());
    make_group(shell, name, given).map_err(|fault| call.unknown(fault.text()))?;
    Ok(0)
}
