//! What the outcomes of a page's parts make together.

use std::time::Duration;

use crate::{
    answer::{Seam, join},
    block::{Bbox, Block, around, turned_back, within_page},
    confidence::Confidence,
    error::PageError,
    page::{FinishReason, Joint, PageAnswer, PageOutcome, Part, PreparedPage, Rotation},
};

/// The outcome of a page of which these parts came back, in their order; none if nothing did.
pub(super) fn whole(
    page: &PreparedPage,
    outcomes: Vec<Option<PageOutcome>>,
) -> Option<PageOutcome> {
    let count = outcomes.len();
    let mut answers = Vec::new();
    let mut failure = None;
    let mut together: Option<PageOutcome> = None;
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let Some(outcome) = outcome else {
            continue;
        };
        let PageOutcome {
            id: _,
            result,
            by,
            attempts,
            size: _,
            warnings,
            elapsed,
        } = outcome;
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                failure.get_or_insert_with(|| {
                    let message = format!("part {} of {count}: {}", place + 1, error.message);
                    PageError { message, ..error }
                });
            }
        }
        let sum = together.get_or_insert_with(|| PageOutcome {
            id: page.id,
            result: Ok(PageAnswer::default()),
            by: by.clone(),
            attempts: 1,
            size: page.pixels.as_ref().map(|pixels| pixels.dimensions()),
            warnings: Vec::new(),
            elapsed: Duration::ZERO,
        });
        sum.by = by;
        sum.attempts += attempts.saturating_sub(1);
        sum.elapsed += elapsed;
        for warning in warnings {
            if !sum.warnings.contains(&warning) {
                sum.warnings.push(warning);
            }
        }
    }
    let mut together = together?;
    together.result = match failure {
        Some(error) => Err(error),
        None => Ok(together_of(page, answers)),
    };
    Some(together)
}

/// One answer of those of all parts.
fn together_of(page: &PreparedPage, answers: Vec<PageAnswer>) -> PageAnswer {
    let confidences: Vec<_> = answers
        .iter()
        .filter_map(|answer| Some((answer.confidence?, answer.completion_tokens.unwrap_or(1))))
        .collect();
    let mut whole = PageAnswer {
        parts: Some(answers.len()),
        confidence: Confidence::together(&confidences),
        ..PageAnswer::default()
    };
    let size = page
        .pixels
        .as_ref()
        .map_or((1, 1), |pixels| pixels.dimensions());
    let mut before = None;
    for (part, answer) in page.parts.iter().zip(answers) {
        let height = part.size().1;
        let seam = Seam::of(part.joint, (before.unwrap_or(height), height));
        before = Some(height);
        whole.content = join(std::mem::take(&mut whole.content), &answer.content, seam);
        if let Some(blocks) = answer.blocks {
            let blocks = on_page(blocks, answer.turned, part, size);
            let blocks_before = whole.blocks.get_or_insert_default();
            append(blocks_before, blocks, part, seam, size.1);
        }
        whole.unparsed |= answer.unparsed;
        whole.finish_reason = worse(whole.finish_reason, answer.finish_reason);
        whole.prompt_tokens = sum(whole.prompt_tokens, answer.prompt_tokens);
        whole.image_tokens = sum(whole.image_tokens, answer.image_tokens);
        whole.completion_tokens = sum(whole.completion_tokens, answer.completion_tokens);
        whole.forward_passes = sum(whole.forward_passes, answer.forward_passes);
        whole.draft_accepted = sum(whole.draft_accepted, answer.draft_accepted);
        whole.prefill += answer.prefill;
        whole.decode += answer.decode;
    }
    whole
}

fn sum(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

fn worse(one: Option<FinishReason>, other: Option<FinishReason>) -> Option<FinishReason> {
    let rank = |reason: &FinishReason| match reason {
        FinishReason::Stop => 0,
        FinishReason::Length => 1,
        FinishReason::Repetition => 2,
    };
    one.into_iter().chain(other).max_by_key(rank)
}

/// Blocks of a part, with their boxes on the page. The model may have asked for the part to be turned.
fn on_page(
    mut blocks: Vec<Block>,
    turned: Rotation,
    part: &Part,
    (width, height): (u32, u32),
) -> Vec<Block> {
    let [left, top, right, bottom] = part.area.map(f64::from);
    let (width, height) = (f64::from(width), f64::from(height));
    let place = |bbox: Bbox| {
        let [x0, y0, x1, y1] = turned_back(bbox, turned.degrees());
        let across = |x: f64| (left + x * (right - left)) / width;
        let down = |y: f64| (top + y * (bottom - top)) / height;
        within_page([across(x0), down(y0), across(x1), down(y1)])
    };
    for block in &mut blocks {
        block.bbox = block.bbox.and_then(place);
    }
    blocks
}

/// Adds the blocks of a part. Of those that lie in the rows that it shares with the part before, each is kept once: by the part
/// that shows more of it.
fn append(before: &mut Vec<Block>, mut blocks: Vec<Block>, part: &Part, seam: Seam, height: u32) {
    if let Joint::Overlap(rows) = part.joint {
        let middle = f64::from(part.area[1] + rows / 2) / f64::from(height);
        let is_above = |block: &Block| {
            block
                .bbox
                .map(|[_, y0, _, y1]| f64::midpoint(y0, y1) < middle)
        };
        let crosses = |block: &Block| {
            block
                .bbox
                .is_none_or(|[_, y0, _, y1]| y0 <= middle && y1 >= middle)
        };
        let is_same = |one: &Block, other: &Block| {
            one.kind == other.kind && one.rows.is_none() && crosses(one) && crosses(other)
        };
        // A paragraph that both show in part.
        let mut joined = None;
        if let Some(first) = blocks.first()
            && let Some(mut last) = before.pop_if(|last| is_same(last, first))
        {
            last.text = join(last.text, &first.text, seam);
            last.bbox = last
                .bbox
                .zip(first.bbox)
                .map(|(one, other)| around(one, other));
            blocks.remove(0);
            joined = Some(last);
        }
        let has_boxes = blocks.iter().any(|block| block.bbox.is_some());
        let first_row = f64::from(part.area[1]) / f64::from(height);
        let is_shared = |block: &Block| block.bbox.is_some_and(|[_, y0, _, _]| y0 >= first_row);
        before.retain(|block| {
            let is_theirs = is_shared(block) && is_above(block) == Some(false);
            !(has_boxes && is_theirs)
        });
        blocks.retain(|block| is_above(block) != Some(true));
        before.extend(joined);
    }
    before.append(&mut blocks);
}
