//! Drafts: likely next tokens, which the model verifies many at a time instead of generating one by one.
//!
//! The text layer of a born-digital page holds nearly all that the model will write, and tables repeat earlier text. So the
//! longest suffix of the answer that occurs in either is looked up, and the tokens after it are the draft. The model runs once
//! over the whole draft and accepts the tokens that it would have generated itself. So drafts never change an answer as long
//! as a token's logits don't depend on how many tokens run together: true on a CPU in f32 and quantized; in bf16 and on a GPU
//! they are rounded differently (speculative decoding, Leviathan et al. 2023, for the greedy case; drafts by lookup as in
//! Saxena's prompt lookup decoding, 2023).
//!
//! A model may have a head that predicts the token after the next (multi-token prediction). It drafts where the lookup finds
//! nothing: a few tokens, each from the one before it.

mod pace;

use self::pace::Pace;

/// Maximum length of a draft, in tokens.
pub(super) const MAX_DRAFT: usize = 24;
/// Length of the first draft.
const FIRST: usize = 8;
/// Maximum length of a draft of the model's own head: each of its tokens takes a product with the whole vocabulary.
const MAX_HEAD_DRAFT: usize = 4;
/// Length of the first one.
const FIRST_OF_HEAD: usize = 2;
/// Maximum length of the answer's suffix that is compared: longer matches add nothing.
const CONTEXT: usize = 12;
/// From a match of this many tokens on, the answer itself is a better source than the place where the source was left.
const STRONG: usize = 4;

/// Drafts for one answer.
#[derive(Debug, Clone)]
pub struct Drafter {
    /// The known text of the page, before the answer itself.
    source: Vec<u32>,
    /// Where in the source the answer was last seen.
    cursor: usize,
    /// Where in the source the latest draft was taken from.
    taken_at: Option<usize>,
    pace: Pace,
    /// That of the model's own head, where it has one.
    head: Option<Pace>,
    /// Whether the latest draft is that of the head.
    by_head: bool,
}

impl Drafter {
    /// Drafts from `source`, the tokens of the page's text as far as it is known, and from the answer itself.
    #[must_use]
    pub fn new(source: Vec<u32>) -> Self {
        Self {
            source,
            cursor: 0,
            taken_at: None,
            pace: Pace::new(FIRST, MAX_DRAFT),
            head: None,
            by_head: false,
        }
    }

    /// The same, and where nothing is known, [lengths](Self::head_length) for drafts of the model's own head.
    #[must_use]
    pub fn with_head(self) -> Self {
        Self {
            head: Some(Pace::new(FIRST_OF_HEAD, MAX_HEAD_DRAFT)),
            ..self
        }
    }

    /// Whether an answer of `length` tokens gets no draft, whatever they are.
    #[must_use]
    pub fn rests(&self, length: usize) -> bool {
        let head = self.head.as_ref();
        self.pace.rests(length) && head.is_none_or(|head| head.rests(length))
    }

    /// How many tokens the model's own head is to draft after an answer of `written` tokens that has
    /// [no other draft](Self::draft), with room for `room` more.
    pub fn head_length(&mut self, written: usize, room: usize) -> usize {
        let head = self.head.as_ref();
        let length = head.map_or(0, |head| head.length(written, room));
        self.by_head = length > 0;
        length
    }

    /// How `answer` may go on, in at most `room` tokens; empty if nothing is known.
    pub fn draft(&mut self, answer: &[u32], room: usize) -> Vec<u32> {
        self.taken_at = None;
        self.by_head = false;
        let length = self.pace.length(answer.len(), room);
        if length == 0 {
            return Vec::new();
        }
        let from_source = best_match(&self.source, self.source.len(), answer, self.cursor);
        let end = answer.len();
        let from_answer = best_match(answer, end, answer, end);
        let own = from_answer.as_ref().map_or(0, |own| own.length);
        let from_source = match from_source {
            Some(source) => (own <= source.length).then_some(source.end),
            // The answer has tokens of its own, such as markup: after them the source may go on where it was left.
            None => (own < STRONG && self.cursor < self.source.len()).then_some(self.cursor),
        };
        self.taken_at = from_source;
        let next = match (from_source, from_answer) {
            (Some(at), _) => &self.source[at..],
            // One token alone says little about what follows.
            (None, Some(own)) if own.length > 1 => {
                // A repeat may repeat again, such as a line of dots.
                return answer[own.end..]
                    .iter()
                    .copied()
                    .cycle()
                    .take(length)
                    .collect();
            }
            _ => return Vec::new(),
        };
        next.iter().copied().take(length).collect()
    }

    /// Learns that the first `right` of `drafted` tokens were written, after which the answer is `answer`.
    pub fn learn(&mut self, drafted: usize, right: usize, answer: &[u32]) {
        if drafted == 0 {
            return;
        }
        if let Some(at) = self.taken_at.filter(|_| right > 0) {
            self.cursor = at + right;
        } else if let Some(found) = best_match(&self.source, self.source.len(), answer, self.cursor)
        {
            self.cursor = found.end;
        }
        let head = self.head.as_mut().filter(|_| self.by_head);
        let pace = head.unwrap_or(&mut self.pace);
        pace.learn(drafted, right, answer.len());
    }
}

/// A match of the answer's suffix.
struct Match {
    /// Where it ends there: what follows is the draft.
    end: usize,
    /// How many tokens are the same.
    length: usize,
}

/// The place before `limit` in `text` where most of the end of `answer` stands; of several, the one nearest to `near`.
/// Before the answer has begun, that is the start of the text.
fn best_match(text: &[u32], limit: usize, answer: &[u32], near: usize) -> Option<Match> {
    let Some(&last) = answer.last() else {
        return (limit > 0).then_some(Match { end: 0, length: 0 });
    };
    let mut best: Option<Match> = None;
    for end in (1..limit).filter(|&end| text[end - 1] == last) {
        let before = text[..end].iter().rev().zip(answer.iter().rev());
        let length = before
            .take(CONTEXT)
            .take_while(|(there, here)| there == here)
            .count();
        let better = best.as_ref().is_none_or(|best| {
            (length, near.abs_diff(best.end)) > (best.length, near.abs_diff(end))
        });
        if better {
            best = Some(Match { end, length });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes `truth` with drafts from `source`; returns how often the model ran.
    fn passes(source: &[u32], truth: &[u32]) -> usize {
        let mut drafter = Drafter::new(source.to_vec());
        let (mut written, mut passes) = (0, 0);
        while written < truth.len() {
            let guess = drafter.draft(&truth[..written], truth.len() - written - 1);
            let right = guess
                .iter()
                .zip(&truth[written..])
                .take_while(|(guessed, written)| guessed == written)
                .count();
            written += right + 1;
            passes += 1;
            drafter.learn(guess.len(), right, &truth[..written]);
        }
        passes
    }

    #[test]
    fn draft_equal_to_the_answer_takes_few_passes() {
        let text: Vec<u32> = (0..500).map(|i| i % 97 + i / 97).collect();
        assert!(passes(&text, &text) <= 25, "{}", passes(&text, &text));
    }

    #[test]
    fn draft_recovers_after_markup_in_a_few_passes() {
        let line = |i: u32| (10 * i..10 * i + 10).collect::<Vec<u32>>();
        let source: Vec<u32> = (0..30).flat_map(line).collect();
        let marked: Vec<u32> = (0..30)
            .flat_map(|i| [vec![9000, 9001], line(i)].concat())
            .collect();
        assert!(
            passes(&source, &marked) <= 95,
            "{}",
            passes(&source, &marked)
        );
    }

    #[test]
    fn repeated_text_is_drafted_from_the_answer() {
        let row: Vec<u32> = (0..12).collect();
        let table: Vec<u32> = (0..30)
            .flat_map(|i| [row.clone(), vec![5000 + i]].concat())
            .collect();
        assert!(passes(&[], &table) <= 130, "{}", passes(&[], &table));
    }

    #[test]
    fn draft_continues_a_line_of_dots() {
        let dots = [vec![1, 2, 3], vec![7; 60]].concat();
        assert!(passes(&[], &dots) <= 12, "{}", passes(&[], &dots));
        let rule = [8, 9].repeat(60);
        assert!(passes(&[], &rule) <= 12, "{}", passes(&[], &rule));
    }

    #[test]
    fn rejected_drafts_stop_drafting() {
        // Every token stands in the source, always before another one.
        let source: Vec<u32> = (0..400).rev().collect();
        let truth: Vec<u32> = (0..400).collect();
        let mut drafter = Drafter::new(source);
        let mut guessed = 0;
        for written in 1..400 {
            let guess = drafter.draft(&truth[..written], 24);
            guessed += usize::from(!guess.is_empty());
            drafter.learn(guess.len(), 0, &truth[..=written]);
        }
        assert!(guessed <= 24, "{guessed}");
    }

    proptest! {
        #[test]
        fn draft_fits_into_the_room_left(source in prop::collection::vec(0_u32..6, 0..60), answer in prop::collection::vec(0_u32..6, 0..60), room in 0_usize..40) {
            prop_assert!(Drafter::new(source).draft(&answer, room).len() <= room);
        }

        #[test]
        fn drafting_never_takes_more_passes_than_tokens(source in prop::collection::vec(0_u32..9, 0..80), truth in prop::collection::vec(0_u32..9, 1..80)) {
            prop_assert!(passes(&source, &truth) <= truth.len());
        }
    }
}
