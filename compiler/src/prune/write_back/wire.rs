//! Protobuf on the wire: the fields of a message, and copies of a message with some parts replaced.

use super::WriteBackError;
use std::collections::BTreeMap;
use std::ops::Range;

/// A field on the wire.
pub(super) struct Field {
    pub(super) number: u32,
    /// 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
    pub(super) wire: u8,
    /// With its tag.
    pub(super) whole: Range<usize>,
    pub(super) body: Range<usize>,
}

/// The number at `at`, which moves behind it.
pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, WriteBackError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(WriteBackError::Malformed)?;
        *at += 1;
        value |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            return Ok(value);
        }
    }
    Err(WriteBackError::Malformed)
}

/// The fields of a message.
pub(super) fn fields(bytes: &[u8], message: Range<usize>) -> Result<Vec<Field>, WriteBackError> {
    let mut fields = Vec::new();
    let mut at = message.start;
    while at < message.end {
        let start = at;
        let tag = varint(bytes, &mut at)?;
        let (number, wire) = ((tag >> 3) as u32, (tag & 7) as u8);
        let length = match wire {
            0 => {
                let begin = at;
                varint(bytes, &mut at)?;
                let length = at - begin;
                at = begin;
                length
            }
            1 => 8,
            2 => varint(bytes, &mut at)? as usize,
            5 => 4,
            _ => return Err(WriteBackError::Malformed),
        };
        let end = at.checked_add(length).filter(|end| *end <= message.end);
        let end = end.ok_or(WriteBackError::Malformed)?;
        fields.push(Field {
            number,
            wire,
            whole: start..end,
            body: at..end,
        });
        at = end;
    }
    Ok(fields)
}

/// The bit of a varint's byte that says that more follow. A zero may be written in as many bytes as one likes, so it
/// takes those of the number that was there.
pub(super) const MORE: u8 = 0x80;

/// Copies a message with other bodies for the messages in it that begin at the keys of `bodies`.
pub(super) fn rewrite(
    model: &[u8],
    message: Range<usize>,
    bodies: &BTreeMap<usize, Vec<u8>>,
) -> Result<Vec<u8>, WriteBackError> {
    let mut bytes = Vec::new();
    for part in fields(model, message)? {
        if part.wire != 2 || bodies.range(part.body.clone()).next().is_none() {
            bytes.extend(&model[part.whole]);
            continue;
        }
        match bodies.get(&part.body.start) {
            Some(body) => embed(part.number, body, &mut bytes),
            None => embed(part.number, &rewrite(model, part.body, bodies)?, &mut bytes),
        }
    }
    Ok(bytes)
}

/// Appends a length-delimited field.
pub(super) fn embed(number: u32, body: &[u8], bytes: &mut Vec<u8>) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, bytes);
    prost::encoding::encode_varint(body.len() as u64, bytes);
    bytes.extend(body);
}
