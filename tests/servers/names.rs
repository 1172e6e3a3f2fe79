//! Modified UTF-7 (RFC 3501 section 5.1.3), written apart from the library's own so that both
//! cannot err alike.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

pub(crate) fn encode(name: &str) -> String {
    let mut out = String::new();
    let mut wide: Vec<u8> = Vec::new();
    for character in name.chars() {
        if !matches!(character, ' '..='~') {
            let mut units = [0; 2];
            character
                .encode_utf16(&mut units)
                .iter()
                .for_each(|unit| wide.extend(unit.to_be_bytes()));
            continue;
        }
        flush(&mut wide, &mut out);
        out.push(character);
        if character == '&' {
            out.push('-');
        }
    }
    flush(&mut wide, &mut out);
    out
}

fn flush(wide: &mut Vec<u8>, out: &mut String) {
    if !wide.is_empty() {
        *out += &format!("&{}-", BASE64.encode(&wide));
        wide.clear();
    }
}

pub(crate) fn decode(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out += plain;
        let (wide, after) = shifted.split_once('-').expect("a shift without an end");
        rest = after;
        if wide.is_empty() {
            out.push('&');
            continue;
        }
        let bytes = BASE64.decode(wide).expect("base64 in a mailbox name");
        let units: Vec<u16> =
            bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        out += &String::from_utf16(&units).expect("UTF-16 in a mailbox name");
    }
    out + rest
}

#[test]
fn names_survive_the_encoding() {
    assert_eq!(encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
    assert_eq!(encode("会議"), "&TxqLcA-");
    for name in ["INBOX", "R&D", "会議/資料", "🎉 party", "ü&ü"] {
        assert_eq!(decode(&encode(name)), name);
    }
}
