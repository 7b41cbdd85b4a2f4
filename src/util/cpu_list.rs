//! Lists of processors, as `taskset -c` takes them: `0,2-5,8-14:2`.

/// Highest number of a processor, as the kernel's sets have.
const CPU_MAX: usize = 1023;

/// The processors of a list, in its order; `None` when it is malformed or names none. Parts are
/// separated by commas or spaces; `a-b:s` is every s-th from a to b.
pub fn parse(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    let parts = text
        .split([',', ' ', '\t', '\n'])
        .filter(|part| !part.is_empty());
    for part in parts {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) if range.contains('-') => (range, number(step)?),
            Some(_) => return None,
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, number(range)?),
        };
        if first > last || step == 0 {
            return None;
        }
        cpus.extend((first..=last).step_by(step));
    }
    (!cpus.is_empty()).then_some(cpus)
}

fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.filter(|&cpu| cpu <= CPU_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0,2-5"), Some(vec![0, 2, 3, 4, 5]));
        assert_eq!(parse("8-14:2 1"), Some(vec![8, 10, 12, 14, 1]));
        assert_eq!(parse("1-1"), Some(vec![1]));
    }

    #[test]
    fn what_is_no_list() {
        for text in [
            "",
            ",",
            "a",
            "-1",
            "1-",
            "3-1",
            "1:2",
            "1-3:0",
            "+1",
            "1-3:",
            "0-99999999999999999999",
            "1024",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
