//! PAX extended headers: records of `length key=value`.
//!
//! In come the bytes of one header, out come the values that this program knows, or the rule that
//! is broken. Repeated keys are refused, because readers disagree on which one counts. Format:
//! POSIX.1-2024 `pax`, "pax Extended Header"; attributes as `SCHILY.xattr.NAME`, star(5).

use std::collections::{BTreeMap, BTreeSet};

use super::MAXIMUM_SIZE;

/// What a header says of one entry; `None` where it is silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Whole seconds, rounded down.
    pub(super) mtime: Option<i64>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    /// apk's digest of the content.
    pub(super) sha1: Option<Vec<u8>>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Why a header is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It breaks this rule.
    Broken(&'static str),
    /// It uses this feature.
    Unsupported(&'static str),
}

const MALFORMED: Refusal = Refusal::Broken("has a malformed PAX header");

/// Reads the header of one entry.
pub(super) fn parse(bytes: &[u8]) -> Result<Records, Refusal> {
    let mut records = Records::default();
    for (key, value) in split(bytes)? {
        records.set(key, value)?;
    }
    Ok(records)
}

/// Accepts a global header only if it changes nothing, as the one with git's commit id.
pub(super) fn check_global(bytes: &[u8]) -> Result<(), Refusal> {
    let comments_only = split(bytes)?.iter().all(|(key, _)| *key == b"comment");
    if comments_only { Ok(()) } else { Err(Refusal::Unsupported("a global PAX header")) }
}

type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits a header into its records, each key at most once.
fn split(bytes: &[u8]) -> Result<Vec<Record<'_>>, Refusal> {
    let mut records = Vec::new();
    let mut keys = BTreeSet::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (key, value, tail) = first_record(rest).ok_or(MALFORMED)?;
        if !keys.insert(key) {
            return Err(Refusal::Broken("has a PAX header with a repeated key"));
        }
        records.push((key, value));
        rest = tail;
    }
    Ok(records)
}

/// Takes `length key=value\n` apart, where the length counts the whole record.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().position(|&byte| byte == b' ')?;
    let (digits, _) = bytes.split_at_checked(blank)?;
    let length = usize::try_from(decimal(digits)?).ok()?;
    let (record, tail) = bytes.split_at_checked(length)?;
    let record = record.get(blank.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
    let (key, value) = record.split_at_checked(equals)?;
    let printable = key.iter().all(|byte| byte.is_ascii_graphic() || *byte >= 0x80);
    printable.then_some((key, value.get(1..)?, tail))
}

impl Records {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link_path = Some(name(value)?),
            b"size" => {
                let size = decimal(value).filter(|&size| size < MAXIMUM_SIZE);
                self.size = Some(size.ok_or(MALFORMED)?);
            }
            b"uid" => self.uid = Some(id(value)?),
            b"gid" => self.gid = Some(id(value)?),
            b"uname" => self.user = Some(value.to_vec()),
            b"gname" => self.group = Some(value.to_vec()),
            b"APK-TOOLS.checksum.SHA1" => self.sha1 = Some(value.to_vec()),
            b"mtime" => self.mtime = Some(seconds(value).ok_or(MALFORMED)?),
            b"hdrcharset" | b"charset"
                if value != b"BINARY" && !value.starts_with(b"ISO-IR 10646") =>
            {
                return Err(Refusal::Unsupported("another character set"));
            }
            _ if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => {
                return Err(Refusal::Unsupported("a sparse file"));
            }
            _ if key.starts_with(b"SCHILY.acl.") => {
                return Err(Refusal::Unsupported("access control lists"));
            }
            b"RHT.security.selinux" => {
                self.xattrs.insert(b"security.selinux".to_vec(), value.to_vec());
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.").filter(|n| !n.is_empty()) {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// A path: present, and without NUL.
fn name(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    if value.is_empty() || value.contains(&0) { Err(MALFORMED) } else { Ok(value.to_vec()) }
}

fn id(value: &[u8]) -> Result<u32, Refusal> {
    decimal(value).and_then(|id| u32::try_from(id).ok()).ok_or(MALFORMED)
}

/// Decimal digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Decimal seconds with an optional sign and fraction, rounded down.
fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"0");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let borrowed = negative && fraction.iter().any(|&digit| digit != b'0');
    if negative { whole.checked_neg()?.checked_sub(i64::from(borrowed)) } else { Some(whole) }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    /// A record with its length in front, which counts itself.
    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let tail = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let length = (0..).find(|n: &usize| n.to_string().len() + tail.len() == *n).unwrap();
        [length.to_string().as_bytes(), &tail].concat()
    }

    #[test]
    fn known_keys_are_read_and_foreign_ones_skipped() {
        let header = [
            record("path", b"a/b"),
            record("size", b"65536"),
            record("mtime", b"-1.5"),
            record("uid", b"77"),
            record("LIBARCHIVE.creationtime", b"1"),
            record("SCHILY.xattr.user.a", b"\0=\n"),
        ];
        let records = parse(&header.concat()).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((records.size, records.mtime, records.uid), (Some(65536), Some(-2), Some(77)));
        assert_eq!(records.xattrs.get(&b"user.a"[..]), Some(&b"\0=\n".to_vec()));
    }

    #[test]
    fn c18_malformed_or_repeated_records_are_refused() {
        let malformed: [&[u8]; 12] = [
            b"\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"-6 a=b\n",
            b"6  a=b\n",
            b"6 =ab\n",
            b"6 abc\n",
            b"99999999999999999999 a=b\n",
            b"10 size=-1\n",
            b"11 size= 1\n\n",
            b"28 size=9223372036854775807\n",
        ];
        for header in malformed {
            assert_eq!(parse(header), Err(MALFORMED), "{}", header.escape_ascii());
        }
        let repeated = Refusal::Broken("has a PAX header with a repeated key");
        assert_eq!(parse(b"9 path=a\n9 path=a\n"), Err(repeated));
        assert_eq!(parse(b"6 a=b\n").unwrap(), Records::default());
    }

    #[test]
    fn features_that_change_the_content_or_the_rights_are_unsupported() {
        for (key, feature) in [
            ("GNU.sparse.major", "a sparse file"),
            ("SCHILY.realsize", "a sparse file"),
            ("SCHILY.acl.access", "access control lists"),
            ("hdrcharset", "another character set"),
        ] {
            assert_eq!(parse(&record(key, b"1")), Err(Refusal::Unsupported(feature)), "{key}");
        }
        assert_eq!(check_global(&record("comment", b"0123abcd")), Ok(()));
        assert!(check_global(&record("path", b"a")).is_err());
    }
}
