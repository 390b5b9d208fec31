//! What a kernel module says of itself: the modules that must be loaded before it.
//!
//! A module is an ELF object with a section `.modinfo` of strings `key=value`, each ended by a
//! NUL; `depends` has the names, separated by commas, and `-` and `_` are the same in a name.
//!
//! Specifications: ELF-64 object file format; Linux, `include/linux/module.h` (`MODULE_INFO`).

/// Returns the names of the modules that `elf` needs, with underscores.
///
/// # Errors
/// What is wrong with the module, as the end of a sentence.
pub(super) fn dependencies(elf: &[u8]) -> Result<Vec<String>, &'static str> {
    let information = section(elf, b".modinfo")?.ok_or("has no section .modinfo")?;
    let entries = information.split(|&byte| byte == 0);
    let depends = entries.filter_map(|entry| entry.strip_prefix(b"depends=")).next();
    let names = depends.unwrap_or_default().split(|&byte| byte == b',');
    let text = |name: &[u8]| canonical(&String::from_utf8_lossy(name));
    Ok(names.filter(|name| !name.is_empty()).map(text).collect())
}

/// A module's name, or its file's without the endings, as the kernel spells it.
pub(super) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Finds a section by its name.
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, &'static str> {
    const SHORT: &str = "is cut short";
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("is no 64-bit little-endian ELF object");
    }
    let table = word(elf, 0x28).ok_or(SHORT)?;
    let entry_size = half(elf, 0x3a).ok_or(SHORT)?;
    let count = half(elf, 0x3c).ok_or(SHORT)?;
    let names_index = half(elf, 0x3e).ok_or(SHORT)?;
    let header = |index: u64| -> Option<&'a [u8]> {
        let start = table.checked_add(index.checked_mul(entry_size)?)?;
        part(elf, start, entry_size)
    };
    let content = |header: &[u8]| part(elf, word(header, 0x18)?, word(header, 0x20)?);
    let names = header(names_index).and_then(content).ok_or(SHORT)?;
    for index in 0..count {
        let header = header(index).ok_or(SHORT)?;
        let start = usize::try_from(int(header, 0).ok_or(SHORT)?).map_err(|_| SHORT)?;
        let own = names.get(start..).and_then(|rest| rest.split(|&byte| byte == 0).next());
        if own == Some(name) {
            return content(header).ok_or(SHORT).map(Some);
        }
    }
    Ok(None)
}

fn part(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let end = start.checked_add(length)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn int(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An ELF object with nothing but a `.modinfo`.
    pub(in super::super) fn module(information: &[u8]) -> Vec<u8> {
        let names = b"\0.modinfo\0";
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let names_at = elf.len() as u64;
        elf.extend(names);
        let information_at = elf.len() as u64;
        elf.extend(information);
        let table = elf.len() as u64;
        elf[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        elf[0x3a..0x40].copy_from_slice(&[64, 0, 2, 0, 0, 0]);
        let sections = [(0_u32, names_at, names.len()), (1, information_at, information.len())];
        for (name, at, size) in sections {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&at.to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            elf.extend(header);
        }
        elf
    }

    #[test]
    fn dependencies_are_read_with_underscores() {
        let cases: [(&[u8], &[&str]); 4] = [
            (b"license=GPL\0depends=virtio,virtio-ring\0", &["virtio", "virtio_ring"]),
            (b"depends=vsock\0name=x\0", &["vsock"]),
            (b"depends=\0", &[]),
            (b"name=x\0", &[]),
        ];
        for (information, expected) in cases {
            assert_eq!(dependencies(&module(information)).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_module_is_refused_and_never_panics() {
        let good = module(b"depends=vsock\0");
        assert!(dependencies(b"").is_err());
        assert!(dependencies(&good[..good.len() - 1]).is_err());
        for place in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[place] = value;
                drop(dependencies(&bad));
            }
        }
    }
}
