//! What holds for every audit record.

/// A record is one datagram of at most 900 bytes after its header, without control characters, in which
/// quotes are closed and there is one event.
pub fn check_records(records: &[String]) {
    assert!(!records.is_empty());
    for record in records {
        assert!(
            !record.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}')),
            "{record:?}"
        );
        let (header, message) = record.split_once("]: ").unwrap();
        assert!(header.starts_with('<') && header.contains(" espm["), "{record:?}");
        assert!(message.len() <= 900, "{} bytes: {record}", message.len());
        let (mut plain, mut quoted, mut escaped) = (String::new(), false, false);
        for c in message.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                c if !quoted => plain.push(c),
                _ => {}
            }
        }
        assert!(!quoted, "{record}");
        for (field, count) in [("event=", 1), ("outcome=", 1), ("request=", 1)] {
            assert_eq!(plain.matches(field).count(), count, "{record}");
        }
        assert!(plain.starts_with("event="), "{record}");
    }
}
