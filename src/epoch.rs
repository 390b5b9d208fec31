//! The one moment that a build knows: seconds since 1970, given by the recipe.
//!
//! Every time stamp in an output is the epoch or older. Nothing but the command line reads a
//! clock; see <https://reproducible-builds.org/specs/source-date-epoch/>.

use std::fmt;
use std::str::FromStr;

/// Seconds since 1970-01-01T00:00:00Z, from 0 to the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Epoch(u64);

/// 9999-12-31T23:59:59Z: beyond it no four-digit year can be written.
const LATEST: u64 = 253_402_300_799;

impl Epoch {
    /// Returns the epoch of `seconds`, or `None` beyond the year 9999.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds <= LATEST { Some(Self(seconds)) } else { None }
    }

    /// Returns the seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns `seconds` unless that is later than this epoch, then the epoch itself.
    ///
    /// This is how `SOURCE_DATE_EPOCH` is meant: old time stamps are facts, new ones are noise.
    pub fn clamp(self, seconds: i64) -> i64 {
        seconds.min(i64::try_from(self.0).expect("an epoch is below the year 10000"))
    }

    /// Returns year, month (1 to 12), day (1 to 31), hour, minute and second, in UTC.
    ///
    /// Civil-from-days on the proleptic Gregorian calendar, counting years from March so that the
    /// leap day comes last.
    pub fn civil(self) -> (u64, u64, u64, u64, u64, u64) {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        let shifted = days + 719_468; // days since 0000-03-01
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        (year, month, day, rest / 3_600, rest / 60 % 60, rest % 60)
    }
}

impl fmt::Display for Epoch {
    /// As RFC 3339 in UTC: `2026-11-22T10:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Why a text is not an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time in whole seconds since 1970, up to the year 9999")]
pub struct ParseError(String);

impl FromStr for Epoch {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = if digits { text.parse().ok() } else { None };
        seconds.and_then(Self::new).ok_or_else(|| ParseError(text.chars().take(40).collect()))
    }
}

impl<'de> serde::Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        Self::new(seconds).ok_or_else(|| serde::de::Error::custom(ParseError(seconds.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LATEST, "9999-12-31T23:59:59Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Epoch::new(seconds).unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_plain_seconds_are_accepted() {
        assert_eq!("1700000000".parse::<Epoch>().unwrap().seconds(), 1_700_000_000);
        for text in ["", "-1", "+1", "1.5", "now", "253402300800", "99999999999999999999"] {
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
    }

    #[test]
    fn later_times_become_the_epoch_and_earlier_ones_stay() {
        let epoch = Epoch::new(100).unwrap();
        assert_eq!([epoch.clamp(99), epoch.clamp(101), epoch.clamp(-5)], [99, 100, -5]);
    }
}
