//! Makes the device that checks a measured root, as a kernel with device-mapper built in would.
//!
//! Kata's runtime describes it with the kernel parameter `dm-mod.create`, which only built-in code
//! reads. Where device-mapper is a module, the loader reads the same parameter and asks for the same
//! device, by three calls: create, load the table, resume.
//!
//! Specifications: <https://docs.kernel.org/admin-guide/device-mapper/dm-init.html>; Linux,
//! `include/uapi/linux/dm-ioctl.h`.

use std::error::Error;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

const CONTROL: &str = "/dev/mapper/control";
/// Bytes of `struct dm_ioctl`, and of the `struct dm_target_spec` behind it.
const HEADER: usize = 312;
const SPECIFICATION: usize = 40;
const BUFFER: usize = 4096;
const NAME_AT: usize = 48;
const READ_ONLY: u32 = 1;

const CREATE: Opcode = opcode::read_write::<[u8; HEADER]>(0xFD, 3);
const RESUME: Opcode = opcode::read_write::<[u8; HEADER]>(0xFD, 6);
const LOAD: Opcode = opcode::read_write::<[u8; HEADER]>(0xFD, 9);

/// A device with one target, for reading only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    name: String,
    sectors: u64,
    target: String,
    arguments: String,
}

impl Device {
    /// Reads `dm-mod.create="NAME,,,ro,0 SECTORS TARGET ARGUMENTS"`; `None` without it.
    pub(crate) fn parse(parameters: &str) -> Option<Self> {
        let rest = parameters.split("dm-mod.create=\"").nth(1)?;
        let (text, _) = rest.split_once('"')?;
        let mut fields = text.splitn(5, ',');
        let name = fields.next()?.to_owned();
        let [_uuid, _minor, mode] = [fields.next()?, fields.next()?, fields.next()?];
        let mut words = fields.next()?.splitn(4, ' ');
        let (start, sectors) = (words.next()?, words.next()?.parse().ok()?);
        let target = words.next()?.to_owned();
        let arguments = words.next()?.to_owned();
        let is_plain = start == "0" && mode == "ro" && name.len() < 128 && target.len() < 16;
        let fits = arguments.len() < BUFFER - HEADER - SPECIFICATION;
        (is_plain && fits).then_some(Self { name, sectors, target, arguments })
    }

    /// The block devices that it is made of.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.arguments.split(' ').filter(|word| word.starts_with("/dev/"))
    }

    /// Makes the device. The first one is `/dev/dm-0`.
    pub(crate) fn create(&self) -> Result<(), Box<dyn Error>> {
        let control = fs_err::OpenOptions::new().read(true).write(true).open(CONTROL)?;
        ask::<CREATE>(&control, self.request(READ_ONLY, false))?;
        ask::<LOAD>(&control, self.request(READ_ONLY, true))
            .map_err(|error| format!("the kernel refuses the table {self:?}: {error}"))?;
        ask::<RESUME>(&control, self.request(0, false))?;
        Ok(())
    }

    /// A request about this device, with its table or without.
    fn request(&self, flags: u32, with_table: bool) -> [u8; BUFFER] {
        let mut bytes = [0; BUFFER];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &4_u32.to_ne_bytes()); // the version of the interface
        put(12, &(BUFFER as u32).to_ne_bytes());
        put(16, &(HEADER as u32).to_ne_bytes());
        put(20, &u32::from(with_table).to_ne_bytes());
        put(28, &flags.to_ne_bytes());
        put(NAME_AT, self.name.as_bytes());
        if with_table {
            put(HEADER + 8, &self.sectors.to_ne_bytes());
            put(HEADER + 24, self.target.as_bytes());
            put(HEADER + SPECIFICATION, self.arguments.as_bytes());
        }
        bytes
    }
}

fn ask<const OPCODE: Opcode>(
    control: &fs_err::File,
    mut request: [u8; BUFFER],
) -> rustix::io::Result<()> {
    // SAFETY: the kernel reads and writes as many bytes as the request says it has, from its first
    // byte on: those of `request`, which lives until the call returns.
    #[expect(unsafe_code, reason = "there is no safe interface to device-mapper")]
    unsafe {
        ioctl(control, Updater::<OPCODE, [u8; BUFFER]>::new(&mut request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "quiet dm-mod.create=\"dm-verity,,,ro,0 512000 verity 1 /dev/vda1 /dev/vda2 \
         4096 4096 64000 0 sha256 00ff ab01\" root=/dev/dm-0 ro";

    #[test]
    fn the_device_is_what_the_parameter_says() {
        let device = Device::parse(LINE).unwrap();
        assert_eq!((device.name.as_str(), device.sectors), ("dm-verity", 512_000));
        assert_eq!(device.parts().collect::<Vec<_>>(), ["/dev/vda1", "/dev/vda2"]);
        let table = device.request(READ_ONLY, true);
        assert_eq!(&table[HEADER + 24..][..7], b"verity\0");
        assert!(table[HEADER + SPECIFICATION..].starts_with(b"1 /dev/vda1 /dev/vda2 4096 "));
    }

    #[test]
    fn without_the_parameter_or_with_another_there_is_none() {
        for line in ["root=/dev/vda1", &LINE.replace(",ro,", ",rw,"), &LINE.replace("\" root", "")]
        {
            assert_eq!(Device::parse(line), None);
        }
    }
}
