//! The part of an address behind `?`: names and values, percent-encoded bytes.

use std::borrow::Cow;

/// The value of a parameter, the first one of that name; `None` if there is none.
pub(super) fn param<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    let mut pairs = query.split('&');
    let value = pairs.find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then_some(value)
    })?;
    Some(decode(value))
}

/// `%41` is A, `+` a space; what is no escape stands for itself.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match (byte, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (byte, escaped) {
            (_, Some((high, low))) => {
                decoded.push(high << 4 | low);
                rest = &behind[2..];
            }
            (b'+', None) => decoded.push(b' '),
            (byte, None) => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bytes() {
        let query = "a=1&match=x%2A%00%ff+%zz%4&empty=&none&a=2&b=%C3%A4";
        let get = |name| param(query, name).map(Cow::into_owned);
        assert_eq!(get("a"), Some(b"1".to_vec()));
        assert_eq!(get("match"), Some(b"x*\0\xff %zz%4".to_vec()));
        assert_eq!(get("empty"), Some(Vec::new()));
        assert_eq!(get("none"), Some(Vec::new()));
        assert_eq!(get("b"), Some("ä".as_bytes().to_vec()));
        assert_eq!(get("c"), None);
        assert_eq!(param("", "a"), None);
    }
}
