//! A thread's buffer for reading, kept between files: most are small, and there are thousands.

use std::cell::Cell;

/// Bytes that are read at a time: few calls, and the processor's cache holds them.
const SIZE: usize = 64 << 10;

/// Lends this thread's buffer. What is in it is left from earlier use.
pub(crate) fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Whoever asks while it is lent, from inside a reader, gets one for that time.
    let mut buffer = KEPT.take();
    buffer.resize(SIZE, 0);
    let answer = work(&mut buffer);
    KEPT.set(buffer);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_the_buffer_is_lent_gets_another_one() {
        let sizes = with_buffer(|outer| {
            outer.fill(1);
            let inner = with_buffer(|inner| {
                inner.fill(2);
                inner.len()
            });
            assert!(outer.iter().all(|byte| *byte == 1));
            (outer.len(), inner)
        });
        assert_eq!(sizes, (SIZE, SIZE));
    }
}
