//! What is to be done with each page of a document.

use super::{
    decoder::PageCount,
    done::{Done, Known},
};
use crate::{page::Document, page_selection::PageSelection};

/// What is to be done with the selected pages of a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In the order of the pages.
    pub(super) to_do: Vec<(u32, Action)>,
    /// One page of each record that is left as it is.
    pub(super) left: Vec<u32>,
    /// Number of selected pages that these records cover.
    pub(super) left_pages: u64,
    /// Number of pages that the document claims.
    pub(super) page_count: Option<u32>,
}

/// What is to be done with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is read.
    Read,
    /// It gets the record of the same page at another path; so do the pages up to this one.
    Copy(u32),
    /// It is not in the file, nor are those up to this one.
    Missing(u32),
}

impl Plan {
    /// Whether the document must be opened.
    pub(super) fn needs_opening(&self) -> bool {
        let mut actions = self.to_do.iter().map(|&(_, action)| action);
        actions.any(|action| !matches!(action, Action::Copy(_)))
    }

    /// The plan for a document of `count` pages. `is_copy`: this run has met its bytes before, so that what is unread of
    /// it is read there.
    pub(super) fn new(
        document: &Document,
        count: PageCount,
        selection: Option<&PageSelection>,
        done: &dyn Done,
        is_copy: bool,
    ) -> Self {
        let selected = |page: u32| selection.is_none_or(|pages| pages.contains(page));
        let pages_of = |first: u32, last: u32| match selection {
            None => last - first + 1,
            Some(pages) => pages.count(last) - pages.count(first - 1),
        };
        let is_unread = |page: u32| done.known(document, page) == Known::Unread;
        let mut plan = Self {
            page_count: Some(count.claimed),
            ..Self::default()
        };
        let mut page = 1;
        while page <= count.claimed {
            if !selected(page) {
                page += 1;
                continue;
            }
            let last = match done.known(document, page) {
                Known::Here(last) => {
                    let last = last.clamp(page, count.claimed);
                    plan.left.push(page);
                    plan.left_pages += u64::from(pages_of(page, last));
                    last
                }
                Known::AtOtherPath(last) => {
                    let last = last.clamp(page, count.claimed);
                    plan.to_do.push((page, Action::Copy(last)));
                    last
                }
                Known::Unread if page > count.present => {
                    // One range for all of them, whichever are selected now.
                    let mut first = page;
                    while first > count.present + 1 && is_unread(first - 1) {
                        first -= 1;
                    }
                    let action = if is_copy {
                        Action::Copy(count.claimed)
                    } else {
                        Action::Missing(count.claimed)
                    };
                    plan.to_do.push((first, action));
                    break;
                }
                Known::Unread if is_copy => {
                    plan.to_do.push((page, Action::Copy(page)));
                    page
                }
                Known::Unread => {
                    plan.to_do.push((page, Action::Read));
                    page
                }
            };
            page = last + 1;
        }
        plan
    }

    /// The plan for a document of which no run has opened the bytes; `None` if that is to be tried.
    pub(super) fn unopened(document: &Document, done: &dyn Done, is_copy: bool) -> Option<Self> {
        let mut plan = Self::default();
        match done.known(document, 0) {
            Known::Here(_) => {
                plan.left.push(0);
                plan.left_pages = 1;
            }
            Known::Unread if !is_copy => return None,
            Known::AtOtherPath(_) | Known::Unread => plan.to_do.push((0, Action::Copy(0))),
        }
        Some(plan)
    }
}
