//! Any bytes as what a repository signs, and as keys: nobody vouches for them where no key is trusted.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(!osbuilder::fetch::is_vouched_for(bytes), "no key is trusted");
});
