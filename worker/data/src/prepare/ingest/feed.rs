//! The pieces of all files, in the order of the log, a wave at a time.

use std::sync::Arc;

use super::Part;
use crate::prepare::error::Error;
use crate::prepare::read::{Layout, Piece, Pieces, Span, Table};

/// What is next in the log.
pub(super) enum Unit {
    /// A file begins.
    Begin(usize),
    /// A piece of the file.
    Piece { file: usize, layout: Arc<Layout>, piece: Piece },
    /// The file ends.
    End,
    /// The file cannot be read on.
    Failed(Error),
}

/// Opens files one after the other and cuts them into pieces.
pub(super) struct Feed<'t, F> {
    table: &'t F,
    /// What comes after the last file.
    end: usize,
    next: usize,
    /// What of the file is read, where it is not all.
    span: Option<Span>,
    open: Option<(usize, Pieces<'t>)>,
}

impl<'t, F: Fn(usize) -> Table<'t>> Feed<'t, F> {
    pub(super) fn new(table: &'t F, part: &Part) -> Self {
        let (files, span) = match part {
            Part::Files(files) => (files.clone(), None),
            Part::Span { file, span } => (*file..*file + 1, Some(*span)),
        };
        Self { table, end: files.end, next: files.start, span, open: None }
    }

    /// Pieces that stand for about `bytes` of text; none at the end of the log.
    pub(super) fn wave(&mut self, bytes: u64) -> Vec<Unit> {
        let (mut units, mut weight) = (Vec::new(), 0_u64);
        while weight < bytes {
            let Some((file, pieces)) = &mut self.open else {
                if self.next >= self.end {
                    break;
                }
                let file = self.next;
                self.next += 1;
                units.push(Unit::Begin(file));
                match Pieces::open((self.table)(file), self.span) {
                    Ok(pieces) => self.open = Some((file, pieces)),
                    Err(error) => units.push(Unit::Failed(error)),
                }
                continue;
            };
            match pieces.next() {
                Ok(Some(piece)) => {
                    weight = weight.saturating_add(piece.weight());
                    units.push(Unit::Piece { file: *file, layout: Arc::clone(pieces.layout()), piece });
                    continue;
                }
                Ok(None) => units.push(Unit::End),
                Err(error) => units.push(Unit::Failed(error)),
            }
            self.open = None;
        }
        units
    }

    /// Leaves the rest of a file unread; what of it is under way already comes to its end.
    pub(super) fn skip(&mut self, file: usize) {
        self.open.take_if(|(open, _)| *open == file);
    }
}
