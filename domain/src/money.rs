//! Exact money: an `i64` of minor units and an ISO 4217 currency.
//!
//! Inside, an amount is an integer of the currency's smallest unit (cents, yen, fils); outside it is
//! a decimal text with exactly the currency's exponent (`"12.34"`, `"1200"`, `"1.250"`). There is no
//! float on the way: a JSON number is read from its own characters by [`Money::parse`].
//!
//! **Invariant:** arithmetic is checked; a sum that does not fit is an error, never a wrong amount.

use std::fmt;

pub use iso_currency::Currency;
use serde::{Deserialize, Serialize};

/// Most characters that an amount may have; `i64` needs 20 and a fraction.
const MAX_AMOUNT_LENGTH: usize = 64;

/// An exact amount in one currency; negative where a balance or a leg of a posting is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Units of the currency's smallest denomination.
    pub minor: i64,
    /// ISO 4217 currency.
    pub currency: Currency,
}

/// Why an amount is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("is not a decimal number such as \"12.34\"")]
    NotANumber,
    /// Zero or negative where an amount to move is needed.
    #[error("must be greater than zero")]
    NotPositive,
    /// More digits after the point than the currency has.
    #[error("has more decimals than {currency} allows ({exponent})")]
    TooManyDecimals {
        /// The currency's code.
        currency: &'static str,
        /// Decimals it allows.
        exponent: u16,
    },
    /// Larger than 2^63 - 1 minor units.
    #[error("is larger than this engine can book")]
    Overflow,
    /// No such currency, or one without minor units (gold, for instance).
    #[error("is not an ISO 4217 currency that can be paid in")]
    UnknownCurrency,
}

/// The currency with this ISO 4217 code.
///
/// # Errors
/// [`MoneyError::UnknownCurrency`] also for codes that have no minor unit, such as `XAU`.
pub fn parse_currency(code: &str) -> Result<Currency, MoneyError> {
    Currency::from_code(code)
        .filter(|currency| currency.exponent().is_some())
        .ok_or(MoneyError::UnknownCurrency)
}

impl Money {
    /// An amount of `minor` units.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads an amount to move: a positive decimal in JSON's number syntax, for instance `12.34`,
    /// `7.50` or `1e2`. Trailing zeros beyond the exponent are exact and therefore allowed.
    ///
    /// # Errors
    /// [`MoneyError`] names the rule that is broken.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let exponent = currency.exponent().ok_or(MoneyError::UnknownCurrency)?;
        let (negative, decimal) = Decimal::read(text)?;
        let minor = decimal.scaled_to(exponent, currency)?;
        if negative || minor == 0 {
            return Err(MoneyError::NotPositive);
        }
        Ok(Self::new(minor, currency))
    }

    /// `self + other`, in one currency.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        debug_assert_eq!(self.currency, other.currency, "amounts of one account");
        self.minor
            .checked_add(other.minor)
            .map(|minor| Self::new(minor, self.currency))
            .ok_or(MoneyError::Overflow)
    }

    /// The same amount with the opposite sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self::new(-self.minor, self.currency)
    }

    /// Whether the amount is above zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }
}

/// Digits and a power of ten, as they were written: value = digits * 10^-decimals.
struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
    power: i32,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Result<(bool, Self), MoneyError> {
        if text.len() > MAX_AMOUNT_LENGTH {
            return Err(MoneyError::Overflow);
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, read_power(power)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(MoneyError::NotANumber),
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(MoneyError::NotANumber);
        }
        Ok((negative, Self { whole, fraction, power }))
    }

    /// The value in units of 10^-exponent, refused unless it is a whole number of them.
    fn scaled_to(&self, exponent: u16, currency: Currency) -> Result<i64, MoneyError> {
        let mut digits: i64 = 0;
        // Places left of the unit: positive means zeros to append, negative digits to cut.
        let mut places = i64::from(exponent) + i64::from(self.power)
            - i64::try_from(self.fraction.len()).map_err(|_| MoneyError::Overflow)?;
        let written = format!("{}{}", self.whole, self.fraction);
        let mut kept = written.as_str();
        while places < 0 {
            match kept.strip_suffix('0') {
                Some(shorter) => kept = shorter,
                None if kept.is_empty() => return Ok(0),
                None => {
                    return Err(MoneyError::TooManyDecimals { currency: currency.code(), exponent });
                }
            }
            places += 1;
        }
        for byte in kept.bytes() {
            digits = push_digit(digits, byte - b'0')?;
        }
        while places > 0 && digits != 0 {
            digits = push_digit(digits, 0)?;
            places -= 1;
        }
        Ok(digits)
    }
}

fn read_power(text: &str) -> Result<i32, MoneyError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(MoneyError::NotANumber);
    }
    text.parse().map_err(|_| MoneyError::Overflow)
}

fn push_digit(value: i64, digit: u8) -> Result<i64, MoneyError> {
    value.checked_mul(10).and_then(|tens| tens.checked_add(i64::from(digit))).ok_or(MoneyError::Overflow)
}

impl fmt::Display for Money {
    /// The decimal alone, with the currency's exponent: `12.34`, `-0.05`, `1200`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = usize::from(self.currency.exponent().unwrap_or(0));
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, currency: Currency, minor: i64) {
        assert_eq!(Money::parse(text, currency), Ok(Money::new(minor, currency)));
    }

    #[track_caller]
    fn refuses(text: &str, currency: Currency, error: &MoneyError) {
        assert_eq!(Money::parse(text, currency).as_ref(), Err(error), "{text}");
    }

    #[test]
    fn decimals_are_read_exactly() {
        reads("0.1", Currency::USD, 10);
        reads("0.30", Currency::USD, 30);
        reads("7.53", Currency::USD, 753);
        reads("1e2", Currency::USD, 10_000);
        reads("12.5E-1", Currency::KWD, 1_250);
        reads("1.500", Currency::USD, 150);
        reads("1200", Currency::JPY, 1_200);
        reads("1.250", Currency::KWD, 1_250);
        reads("92233720368547758.07", Currency::USD, i64::MAX);
    }

    #[test]
    fn what_cannot_be_booked_is_refused_by_name() {
        let cents = MoneyError::TooManyDecimals { currency: "USD", exponent: 2 };
        refuses("7.005", Currency::USD, &cents);
        refuses("1e-3", Currency::USD, &cents);
        refuses("0.5", Currency::JPY, &MoneyError::TooManyDecimals { currency: "JPY", exponent: 0 });
        refuses("1e30", Currency::USD, &MoneyError::Overflow);
        refuses("1e999999999999", Currency::USD, &MoneyError::Overflow);
        refuses("92233720368547758.08", Currency::USD, &MoneyError::Overflow);
        for zero in ["0", "0.00", "-1", "-0.01", "0e9"] {
            refuses(zero, Currency::USD, &MoneyError::NotPositive);
        }
        for text in ["", "NaN", "Infinity", "1.", ".5", "1,5", "0x10", "1e", "--1", "+1", " 1"] {
            refuses(text, Currency::USD, &MoneyError::NotANumber);
        }
    }

    #[test]
    fn metals_and_unknown_codes_are_no_currencies() {
        for code in ["XAU", "usd", "ZZZ", ""] {
            assert_eq!(parse_currency(code), Err(MoneyError::UnknownCurrency));
        }
    }

    #[test]
    fn amounts_print_with_the_exponent_of_their_currency() {
        assert_eq!(Money::new(5, Currency::USD).to_string(), "0.05");
        assert_eq!(Money::new(-1_234, Currency::USD).to_string(), "-12.34");
        assert_eq!(Money::new(1_200, Currency::JPY).to_string(), "1200");
        assert_eq!(Money::new(1_250, Currency::KWD).to_string(), "1.250");
        assert_eq!(Money::new(i64::MIN, Currency::JPY).to_string(), i64::MIN.to_string());
    }
}
