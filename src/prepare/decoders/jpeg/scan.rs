//! Scans: coefficients from compressed data, sequential or progressive (ITU-T T.81, annexes F and G).

use super::{
    frame::Frame,
    huffman::{Bits, Broken, Table},
    markers::{ScanHeader, Tables, ZIGZAG},
};

/// A component of the scan.
struct Part<'a> {
    component: usize,
    first: Option<&'a Table>,
    others: Option<&'a Table>,
}

/// What goes on from block to block until the next restart.
#[derive(Default)]
struct State {
    predictions: [i32; 4],
    /// Blocks without further coefficients.
    empty: i32,
}

/// Decodes the scan whose data is `data`, up to the next marker that is no restart. Says whether all of it was there, and
/// where the data ends.
pub(super) fn decode(
    frame: &mut Frame,
    header: &ScanHeader,
    tables: &Tables,
    data: &[u8],
) -> (bool, usize) {
    let (pieces, end) = pieces(data);
    let table = |kind: usize, index: u8| tables.huffman[kind].get(usize::from(index))?.as_ref();
    let parts: Option<Vec<Part>> = header
        .components
        .iter()
        .map(|&(id, first, others)| {
            let component = frame.components.iter();
            let component = component.clone().position(|component| component.id == id)?;
            Some(Part {
                component,
                first: table(0, first),
                others: table(1, others),
            })
        })
        .collect();
    let (first, last) = header.band;
    let is_possible = first <= last && last < 64 && header.bits.1 < 14;
    let Some(parts) = parts.filter(|parts| (1..=4).contains(&parts.len()) && is_possible) else {
        return (false, end);
    };
    for part in &parts {
        frame.components[part.component].note_tables(tables);
    }
    let units = match &parts[..] {
        [only] => frame.components[only.component].own_blocks(),
        _ => (frame.mcus_wide, frame.mcus_high),
    };
    let total = units.0 * units.1;
    let interval = if tables.restart_interval == 0 {
        total
    } else {
        tables.restart_interval
    };
    let (mut is_whole, mut piece_start, mut done) = (true, 0, 0);
    for (index, (restart, piece)) in pieces.iter().enumerate() {
        if let (Some(number), 1..) = (restart, index) {
            // Pieces that are lost leave a gap in the numbers.
            let expected = (piece_start / interval.max(1)) as u8 & 7;
            let skipped = usize::from((number + 1).wrapping_sub(expected) & 7);
            piece_start += skipped * interval;
        }
        let mut bits = Bits::new(piece);
        let mut state = State::default();
        let units_here = piece_start..(piece_start + interval).min(total);
        for unit in units_here.clone() {
            let at = (unit % units.0, unit / units.0);
            if unit_at(frame, header, &parts, at, &mut bits, &mut state).is_err() {
                is_whole = false;
                break;
            }
            done += 1;
        }
        piece_start = units_here.end.max(piece_start);
        if piece_start >= total {
            break;
        }
    }
    (is_whole && done == total, end)
}

/// A restart marker's number, and the data behind it.
type Piece<'a> = (Option<u8>, &'a [u8]);

/// The pieces of a scan between its restart markers, the numbers of these, and where it ends.
fn pieces(data: &[u8]) -> (Vec<Piece<'_>>, usize) {
    let (mut pieces, mut start, mut at, mut restart) = (Vec::new(), 0, 0, None);
    loop {
        let Some(found) = memchr::memchr(0xFF, &data[at..]) else {
            pieces.push((restart, &data[start..]));
            return (pieces, data.len());
        };
        at += found;
        match data.get(at + 1) {
            Some(0 | 0xFF) => at += if data[at + 1] == 0 { 2 } else { 1 },
            Some(&marker @ 0xD0..=0xD7) => {
                pieces.push((restart, &data[start..at]));
                restart = Some(marker & 7);
                at += 2;
                start = at;
            }
            _ => {
                pieces.push((restart, &data[start..at]));
                return (pieces, at);
            }
        }
    }
}

/// Decodes one MCU, or one block where the scan has a single component (section A.2).
fn unit_at(
    frame: &mut Frame,
    header: &ScanHeader,
    parts: &[Part],
    (column, row): (usize, usize),
    bits: &mut Bits,
    state: &mut State,
) -> Result<(), Broken> {
    let is_progressive = frame.is_progressive;
    if let [only] = parts {
        let component = &mut frame.components[only.component];
        let block = component.block(column, row);
        return block_at(
            component.blocks.get_mut(block).ok_or(Broken)?,
            header,
            only,
            is_progressive,
            bits,
            state,
        )
        .map(|()| component.is_seen[block] = true);
    }
    for part in parts {
        let component = &mut frame.components[part.component];
        let (across, down) = component.sampling;
        for y in 0..down {
            for x in 0..across {
                let block = component.block(column * across + x, row * down + y);
                let coefficients = component.blocks.get_mut(block).ok_or(Broken)?;
                block_at(coefficients, header, part, is_progressive, bits, state)?;
                component.is_seen[block] = true;
            }
        }
    }
    Ok(())
}

fn block_at(
    block: &mut [i16; 64],
    header: &ScanHeader,
    part: &Part,
    is_progressive: bool,
    bits: &mut Bits,
    state: &mut State,
) -> Result<(), Broken> {
    let prediction = &mut state.predictions[part.component];
    let first = || part.first.ok_or(Broken);
    let others = || part.others.ok_or(Broken);
    let (from, to) = (usize::from(header.band.0), usize::from(header.band.1));
    let low = header.bits.1;
    if !is_progressive {
        block[0] = direct(first()?, bits, prediction)? as i16;
        // A band that is there at once, and of which none is empty as a whole.
        return band(block, 1..=63, 0, others()?, bits, &mut 0);
    }
    match (from, header.bits.0) {
        (0, 0) => block[0] = (direct(first()?, bits, prediction)? << low) as i16,
        (0, _) => {
            if bits.bit()? {
                block[0] |= 1 << low;
            }
        }
        (_, 0) => band(block, from..=to, low, others()?, bits, &mut state.empty)?,
        _ => refine(block, from..=to, low, others()?, bits, &mut state.empty)?,
    }
    Ok(())
}

/// The first coefficient (section F.2.2.1).
fn direct(table: &Table, bits: &mut Bits, prediction: &mut i32) -> Result<i32, Broken> {
    let size = bits.symbol(table)?;
    *prediction = prediction.wrapping_add(bits.signed(size)?);
    Ok(*prediction)
}

/// The first bits of a band of coefficients, or all of them (sections G.1.2.2 and F.2.2.2).
fn band(
    block: &mut [i16; 64],
    band: std::ops::RangeInclusive<usize>,
    low: u8,
    table: &Table,
    bits: &mut Bits,
    empty: &mut i32,
) -> Result<(), Broken> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(());
    }
    let mut at = *band.start();
    while at <= *band.end() {
        let symbol = bits.symbol(table)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                *empty = (1 << run) - 1 + bits.number(run)?;
                break;
            }
            _ => {
                at += usize::from(run);
                let place = ZIGZAG.get(at).ok_or(Broken)?;
                block[usize::from(*place)] = (bits.signed(size)? << low) as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// One more bit of a band of coefficients (section G.1.2.3).
fn refine(
    block: &mut [i16; 64],
    band: std::ops::RangeInclusive<usize>,
    low: u8,
    table: &Table,
    bits: &mut Bits,
    empty: &mut i32,
) -> Result<(), Broken> {
    let one = 1_i16 << low;
    let correct = |value: &mut i16, bits: &mut Bits| -> Result<(), Broken> {
        if bits.bit()? && *value & one == 0 {
            *value = value.wrapping_add(if *value < 0 { -one } else { one });
        }
        Ok(())
    };
    let (mut at, end) = (*band.start(), *band.end());
    if *empty == 0 {
        while at <= end {
            let symbol = bits.symbol(table)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            let mut new = 0;
            match (run, size) {
                (15, 0) => {}
                (_, 0) => {
                    *empty = (1 << run) + bits.number(run)?;
                    break;
                }
                _ => new = if bits.bit()? { one } else { -one },
            }
            while at <= end {
                let value = &mut block[usize::from(ZIGZAG[at])];
                if *value != 0 {
                    correct(value, bits)?;
                } else if run == 0 {
                    if new != 0 {
                        *value = new;
                    }
                    at += 1;
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
        }
    }
    if *empty > 0 {
        for &place in &ZIGZAG[at..=end] {
            let value = &mut block[usize::from(place)];
            if *value != 0 {
                correct(value, bits)?;
            }
        }
        *empty -= 1;
    }
    Ok(())
}
