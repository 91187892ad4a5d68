//! Money is exact, whatever is written.

use domain::{Currency, Money, MoneyError};
use proptest::prelude::*;

/// Currencies with each exponent that is in use: 0, 2, 3 and 4.
fn currencies() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![
        Currency::JPY,
        Currency::KRW,
        Currency::USD,
        Currency::EUR,
        Currency::KWD,
        Currency::BHD,
        Currency::CLF,
    ])
}

fn exponent(currency: Currency) -> u32 {
    u32::from(currency.exponent().expect("a currency with minor units"))
}

/// The whole and fraction digits in units of 10^-exponent, the slow and obvious way; `None` where
/// the value is no whole number of them.
fn scaled(whole: &str, fraction: &str, power: i32, currency: Currency) -> Option<i128> {
    let digits: i128 = format!("{whole}{fraction}").parse().expect("digits");
    let places = i64::from(exponent(currency)) + i64::from(power)
        - i64::try_from(fraction.len()).expect("a short fraction");
    let factor = 10_i128.pow(u32::try_from(places.abs()).expect("few places"));
    if places >= 0 { Some(digits * factor) } else { (digits % factor == 0).then_some(digits / factor) }
}

/// What `parse` must answer for a value in minor units.
fn bookable(minor: Option<i128>, currency: Currency) -> Result<Money, MoneyError> {
    let exponent = currency.exponent().expect("a currency with minor units");
    match minor {
        None => Err(MoneyError::TooManyDecimals { currency: currency.code(), exponent }),
        Some(0) => Err(MoneyError::NotPositive),
        Some(minor) => {
            i64::try_from(minor).map(|minor| Money::new(minor, currency)).map_err(|_| MoneyError::Overflow)
        }
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(minor in 1..=i64::MAX, currency in currencies()) {
        let money = Money::new(minor, currency);
        prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
    }

    #[test]
    fn small_amounts_read_back_too(minor in 1..20_000_i64, currency in currencies()) {
        let money = Money::new(minor, currency);
        prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
    }

    #[test]
    fn a_printed_amount_has_the_decimals_of_its_currency(minor in any::<i64>(), currency in currencies()) {
        let printed = Money::new(minor, currency).to_string();
        let decimals = printed.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        prop_assert_eq!(decimals, usize::from(currency.exponent().expect("minor units")));
    }

    #[test]
    fn a_decimal_scales_exactly(
        whole in "(0|[1-9][0-9]{0,18})",
        fraction in "[0-9]{0,5}",
        currency in currencies(),
    ) {
        let text = if fraction.is_empty() { whole.clone() } else { format!("{whole}.{fraction}") };
        let expected = bookable(scaled(&whole, &fraction, 0, currency), currency);
        prop_assert_eq!(Money::parse(&text, currency), expected, "{}", text);
    }

    #[test]
    fn a_decimal_with_a_power_of_ten_scales_exactly(
        whole in "(0|[1-9][0-9]{0,8})",
        fraction in "[0-9]{1,4}",
        power in -8..=8_i32,
        currency in currencies(),
    ) {
        let text = format!("{whole}.{fraction}e{power}");
        let expected = bookable(scaled(&whole, &fraction, power, currency), currency);
        prop_assert_eq!(Money::parse(&text, currency), expected, "{}", text);
    }

    #[test]
    fn zeros_beyond_the_exponent_change_nothing(
        minor in 1..=i64::MAX,
        zeros in 0..20_usize,
        currency in currencies(),
    ) {
        let money = Money::new(minor, currency);
        let point = if exponent(currency) == 0 && zeros > 0 { "." } else { "" };
        let text = format!("{money}{point}{}", "0".repeat(zeros));
        prop_assert_eq!(Money::parse(&text, currency), Ok(money));
    }

    #[test]
    fn what_is_below_zero_is_refused(minor in 1..=i64::MAX, currency in currencies()) {
        let text = Money::new(-minor, currency).to_string();
        prop_assert_eq!(Money::parse(&text, currency), Err(MoneyError::NotPositive));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), currency in currencies()) {
        let _ = Money::parse(&text, currency);
    }

    #[test]
    fn no_text_that_looks_like_a_number_makes_it_panic(
        text in "[-+]{0,2}[0-9]{0,25}[.]{0,2}[0-9]{0,25}([eE][-+]?[0-9]{0,12})?",
        currency in currencies(),
    ) {
        if let Ok(money) = Money::parse(&text, currency) {
            prop_assert!(money.is_positive());
            prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
        }
    }

    #[test]
    fn a_sum_is_exact_or_refused(left in any::<i64>(), right in any::<i64>()) {
        let sum = Money::new(left, Currency::USD).checked_add(Money::new(right, Currency::USD));
        let exact = i64::try_from(i128::from(left) + i128::from(right));
        let expected = exact.map(|minor| Money::new(minor, Currency::USD)).map_err(|_| MoneyError::Overflow);
        prop_assert_eq!(sum, expected);
    }
}
