//! Damages of bytes and of texts, seeded, so that a failure repeats.

/// A generator of mutations: the same seed gives the same ones.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    /// One to four damages of bytes: cut, flipped, overwritten, removed, repeated, exchanged.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let length = 1 + self.below(16).min(bytes.len() - at - 1);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => {
                    bytes.drain(at..at + length);
                }
                2 => {
                    let piece = bytes[at..at + length].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                3 => bytes[at..at + length].fill([0x00, 0xff, 0x7f, 0x80][self.below(4)]),
                4 => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
    }

    /// A copy with damages.
    pub fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut copy = bytes.to_vec();
        self.damage(&mut copy);
        copy
    }

    /// The beginning of one and the end of another.
    pub fn join(&mut self, begin: &[u8], end: &[u8]) -> Vec<u8> {
        let (to, from) = (self.below(begin.len() + 1), self.below(end.len() + 1));
        [&begin[..to], &end[from..]].concat()
    }

    /// One to three damages of a text: a number changed, a line removed, repeated or exchanged.
    pub fn damage_text(&mut self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for _ in 0..=self.below(3) {
            let (at, other) = (self.below(lines.len()), self.below(lines.len()));
            match self.below(8) {
                0 => {
                    lines.remove(at);
                }
                1 => {
                    let line = lines[at].clone();
                    lines.insert(other, line);
                }
                2 => lines.swap(at, other),
                _ => {
                    // A line that has a number is looked for from there on.
                    let found = (at..lines.len())
                        .find(|&i| lines[i].contains(|c: char| c.is_ascii_digit()));
                    if let Some(i) = found {
                        lines[i] = self.other_number(&lines[i]);
                    }
                }
            }
        }
        lines.join("\n")
    }

    fn other_number(&mut self, line: &str) -> String {
        let digit = |c: char| c.is_ascii_digit();
        let starts: Vec<usize> = line
            .char_indices()
            .filter(|&(i, c)| digit(c) && !line[..i].ends_with(digit))
            .map(|(i, _)| i)
            .collect();
        let begin = starts[self.below(starts.len())];
        let end = line[begin..]
            .find(|c: char| !digit(c))
            .map_or(line.len(), |n| begin + n);
        let old: u64 = line[begin..end].parse().unwrap_or(0);
        let new = match self.below(8) {
            0 => 0,
            1 => old.wrapping_add(1),
            2 => old.saturating_sub(1),
            3 => old.wrapping_mul(2),
            4 => u64::from(u32::MAX),
            5 => 65536,
            6 => u64::MAX,
            _ => self.below(300) as u64,
        };
        format!("{}{new}{}", &line[..begin], &line[end..])
    }
}
