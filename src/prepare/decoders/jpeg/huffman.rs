//! The bits of compressed data, and the codes that they make (ITU-T T.81, annexes C and F).

/// Codes of at most 16 bits: what each stands for, and its length, by the 16 bits that begin with it.
pub(super) struct Table(Vec<(u8, u8)>);

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Table")
    }
}

impl Table {
    /// Codes from the number of codes of each length, and what they stand for.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut codes = Vec::with_capacity(1 << 16);
        let mut symbols = symbols.iter();
        for (length, &count) in (1..=16).zip(counts) {
            for &symbol in symbols.by_ref().take(count.into()) {
                let end = codes.len() + (1 << (16 - length));
                codes.resize(end.min(1 << 16), (symbol, length));
            }
        }
        // No code has length 0.
        codes.resize(1 << 16, (0, 0));
        Self(codes)
    }
}

/// There are no bits left, or they are no code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken;

/// The bits between two markers.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    buffer: u64,
    /// Bits in the buffer.
    filled: u32,
    /// Bits in the buffer that are not in the data.
    lent: u32,
}

impl<'a> Bits<'a> {
    /// Bits of `bytes`, in which a zero byte follows each byte of ones.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            buffer: 0,
            filled: 0,
            lent: 0,
        }
    }

    fn fill(&mut self) {
        while self.filled <= 48 {
            let byte = match self.bytes {
                [0xFF, 0, rest @ ..] => {
                    self.bytes = rest;
                    0xFF
                }
                [byte, rest @ ..] => {
                    self.bytes = rest;
                    *byte
                }
                [] => {
                    self.lent += 8;
                    0
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.filled += 8;
        }
    }

    fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (self.filled - count)) as u32 & ((1 << count) - 1)
    }

    fn consume(&mut self, count: u32) -> Result<(), Broken> {
        self.filled -= count;
        if self.filled < self.lent {
            return Err(Broken);
        }
        Ok(())
    }

    /// What the next code stands for.
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Broken> {
        self.fill();
        let (symbol, length) = table.0[self.peek(16) as usize];
        if length == 0 {
            return Err(Broken);
        }
        self.consume(length.into())?;
        Ok(symbol)
    }

    /// A number of at most 16 bits.
    pub(super) fn number(&mut self, bits: u8) -> Result<i32, Broken> {
        if bits > 16 {
            return Err(Broken);
        }
        self.fill();
        let value = self.peek(bits.into()) as i32;
        self.consume(bits.into())?;
        Ok(value)
    }

    pub(super) fn bit(&mut self) -> Result<bool, Broken> {
        Ok(self.number(1)? == 1)
    }

    /// A number with a sign, of at most 16 bits (figure F.12).
    pub(super) fn signed(&mut self, bits: u8) -> Result<i32, Broken> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.number(bits)?;
        let is_negative = value >> (bits - 1) == 0;
        Ok(value - i32::from(is_negative) * ((1 << bits) - 1))
    }
}
