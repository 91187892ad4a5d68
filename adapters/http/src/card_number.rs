//! Card numbers have no place here: what names the means of payment is stored, traced and logged.

/// Digits of a card's number (ISO/IEC 7812): 12 to 19.
const DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// Whether a run of digits in a text is a card's number: as long as one, with the right check digit.
pub(crate) fn is_in(text: &str) -> bool {
    let runs = text.split(|character: char| !character.is_ascii_digit());
    runs.filter(|run| DIGITS.contains(&run.len())).any(check_digit_is_right)
}

/// By the rule of Luhn.
fn check_digit_is_right(digits: &str) -> bool {
    let values = digits.bytes().rev().map(|digit| u32::from(digit - b'0'));
    let sum: u32 = values
        .enumerate()
        .map(|(index, value)| match index % 2 {
            0 => value,
            _ => value * 2 / 10 + value * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemes_test_numbers_are_known_and_names_are_not() {
        for number in ["4242424242424242", "378282246310005", "card_5555555555554444", "6011000990139424.x"] {
            assert!(is_in(number), "{number}");
        }
        for name in ["card", "card_4242", "4242424242424241", "tok_00001234", "0", "41111111111"] {
            assert!(!is_in(name), "{name}");
        }
    }
}
