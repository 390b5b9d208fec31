//! The dates of release files: RFC 2822 (now RFC 5322, section 3.3) in UTC, read strictly.
//!
//! In: `Sat, 09 Aug 2025 09:16:30 UTC`. Out: an [`Epoch`]. Zones other than UTC, days that do not
//! exist and a weekday that does not fit are refused, because a freshness check that guesses is
//! none.

use crate::epoch::Epoch;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const ZONES: [&str; 4] = ["UTC", "GMT", "+0000", "Z"];

/// Reads a date; `None` if it is not exactly one.
pub(super) fn parse(text: &str) -> Option<Epoch> {
    let (weekday, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    let [day, month, year, time, zone] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)?;
    let year = number(year, 4..=4)?;
    let days = days_since_1970(year, u64::try_from(month).ok()?, number(day, 1..=2)?)?;
    let weekday_of_days = usize::try_from(days % 7).ok()?;
    if !ZONES.contains(zone) || WEEKDAYS.get(weekday_of_days) != Some(&weekday) {
        return None;
    }
    Epoch::new(days.checked_mul(86_400)?.checked_add(second_of_day(time)?)?)
}

fn second_of_day(time: &str) -> Option<u64> {
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return None };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    let second = number(second, 2..=2)?;
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3_600 + minute * 60 + second)
}

fn number(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain && length.contains(&digits.len()) { digits.parse().ok() } else { None }
}

/// Days from 1970-01-01 to the given day; the month counts from zero.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?;
    if year < 1970 || day == 0 || day > *lengths.get(month)? {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    Some(years + lengths.iter().take(month).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_dates_are_read_strictly() {
        let cases = [
            ("Sat, 09 Aug 2025 09:16:30 UTC", Some("2025-08-09T09:16:30Z")),
            ("Sat,  9 Aug 2025  9:16:30 +0000", Some("2025-08-09T09:16:30Z")),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some("1970-01-01T00:00:00Z")),
            ("Thu, 29 Feb 2024 23:59:59 UTC", Some("2024-02-29T23:59:59Z")),
            ("Sat, 31 Feb 2026 00:00:00 UTC", None),
            ("Sun, 29 Feb 2026 00:00:00 UTC", None),
            ("Fri, 09 Aug 2025 09:16:30 UTC", None), // it was a Saturday
            ("Sat, 09 Aug 2025 09:16:30 +0200", None),
            ("Sat, 09 Aug 2025 09:16:30", None),
            ("Sat, 09 Aug 2025 24:00:00 UTC", None),
            ("Sat, 09 Aug 2025 09:16:60 UTC", None),
            ("Sat, 09 Aug 25 09:16:30 UTC", None),
            ("2025-08-09T09:16:30Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = parse(text).map(|epoch| epoch.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
