//! Any bytes as a maintainer script: it can be read or it cannot, nothing else.
//!
//! Seeds are the scripts below `/var/lib/dpkg/info`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    osbuilder::configure::is_script(bytes);
});
