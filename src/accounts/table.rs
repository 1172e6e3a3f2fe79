//! The CSV as a table: encoding, delimiter, header, and rows with the line they begin on.

use std::borrow::Cow;

use crate::fault::Side;

use super::{Field, nearest};

/// What a column is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// One field of one side.
    Of(Side, Field),
    /// The name of the account in the ledger.
    Id,
    /// A cell of the header that is empty, as spreadsheets leave them at the end.
    Unnamed,
    /// Not ours; told once, its cells are not read.
    Unknown,
}

impl Column {
    fn all() -> impl Iterator<Item = (Self, String)> {
        let sides = [Side::Source, Side::Target].into_iter();
        sides
            .flat_map(|side| Field::ALL.map(|field| (Self::Of(side, field), field.column(side))))
            .chain([(Self::Id, "id".to_owned())])
    }

    fn named(name: &str) -> Self {
        if name.is_empty() {
            return Self::Unnamed;
        }
        Self::all()
            .find(|(_, column)| column.eq_ignore_ascii_case(name))
            .map_or(Self::Unknown, |(column, _)| column)
    }

    /// Where its cells stand in [`Table::places`].
    fn place(self) -> Option<usize> {
        match self {
            Self::Of(side, field) => Some(side as usize * Field::ALL.len() + field as usize),
            Self::Id => Some(2 * Field::ALL.len()),
            Self::Unnamed | Self::Unknown => None,
        }
    }
}

const PLACES: usize = 2 * Field::ALL.len() + 1;

/// A row of as many cells as the header has, all of them text.
pub(super) struct Row<'t> {
    pub(super) line: u64,
    cells: csv::StringRecord,
    places: &'t [Option<usize>; PLACES],
}

impl Row<'_> {
    /// The cell as it stands; empty where the column is missing.
    pub(super) fn cell(&self, column: Column) -> &str {
        column
            .place()
            .and_then(|place| self.places[place])
            .and_then(|index| self.cells.get(index))
            .unwrap_or_default()
    }
}

/// Line, column and text of what is wrong.
pub(super) type RowProblem = (u64, Option<String>, String);

/// A CSV whose header was understood.
pub(super) struct Table<'d> {
    reader: csv::Reader<&'d [u8]>,
    lines: Lines<'d>,
    header_line: u64,
    names: Vec<String>,
    columns: Vec<Column>,
    places: [Option<usize>; PLACES],
}

impl<'d> Table<'d> {
    /// Reads the header; fails where rows cannot be understood without a better one.
    pub(super) fn open(data: &'d [u8]) -> Result<Self, Vec<(u64, String)>> {
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(data))
            .has_headers(false)
            .flexible(true) // The length is checked here, with the line where the row begins.
            .from_reader(data);
        let mut table = Self {
            reader,
            lines: Lines::new(data),
            header_line: 1,
            names: Vec::new(),
            columns: Vec::new(),
            places: [None; PLACES],
        };
        let Some((line, header)) = table.record() else {
            let text = "is empty; the first line must name the columns, at least \
                        source_user and target_user";
            return Err(vec![(1, text.to_owned())]);
        };
        table.header_line = line;
        for cell in &header {
            let name = String::from_utf8_lossy(cell).trim().to_owned();
            table.columns.push(Column::named(&name));
            table.names.push(name);
        }
        let problems = table.place_columns();
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }

    fn place_columns(&mut self) -> Vec<(u64, String)> {
        let line = self.header_line;
        if !self.columns.iter().any(|column| column.place().is_some()) {
            // Perhaps no header at all but an account: nothing of it may be shown.
            let text = "must name the columns, at least source_user and target_user; \
                        it names none that mailhaul knows";
            return vec![(line, text.to_owned())];
        }
        let mut problems = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let Some(place) = column.place() else {
                continue;
            };
            if self.places[place].replace(index).is_some() {
                let name = self.names[index].to_lowercase();
                problems.push((line, format!("the column {name} is there twice; remove one")));
            }
        }
        for side in [Side::Source, Side::Target] {
            let column = Column::Of(side, Field::User);
            if column.place().and_then(|place| self.places[place]).is_none() {
                let name = Field::User.column(side);
                problems.push((line, format!("the column {name} is missing; every row needs it")));
            }
        }
        if !problems.is_empty() {
            problems.extend(self.unknown_columns());
        }
        problems
    }

    /// Names each column that is not ours, with the name it may have been meant for.
    pub(super) fn unknown_columns(&self) -> Vec<(u64, String)> {
        let all: Vec<String> = Column::all().map(|(_, name)| name).collect();
        let unknown = self.columns.iter().zip(&self.names);
        unknown
            .filter(|(column, _)| **column == Column::Unknown)
            .map(|(_, name)| {
                let spelled = name.to_lowercase().replace([' ', '-'], "_");
                let help = match nearest(&spelled, all.iter().map(String::as_str)) {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => format!("the columns are {}", all.join(", ")),
                };
                (self.header_line, format!("unknown column {name:?}; {help}"))
            })
            .collect()
    }

    /// The next row that is not blank.
    pub(super) fn next_row(&mut self) -> Option<Result<Row<'_>, Vec<RowProblem>>> {
        let (line, record) = loop {
            let (line, record) = self.record()?;
            // Spreadsheets leave rows of nothing but delimiters.
            if record.iter().any(|cell| !cell.trim_ascii().is_empty()) {
                break (line, record);
            }
        };
        Some(self.row(line, record))
    }

    fn row(&self, line: u64, record: csv::ByteRecord) -> Result<Row<'_>, Vec<RowProblem>> {
        if record.len() != self.columns.len() {
            let cells = |count: usize| match count {
                1 => "1 cell".to_owned(),
                count => format!("{count} cells"),
            };
            let text = format!(
                "has {} where the header has {}; is a delimiter missing or a quote not closed?",
                cells(record.len()),
                self.columns.len()
            );
            return Err(vec![(line, None, text)]);
        }
        let problems: Vec<RowProblem> = record
            .iter()
            .zip(self.columns.iter().zip(&self.names))
            .filter_map(|(cell, (column, name))| {
                let text = check_cell(*column, cell).err()?;
                let name = (*column != Column::Unnamed).then(|| name.to_lowercase());
                Some((line, name, text.to_owned()))
            })
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        match csv::StringRecord::from_byte_record(record) {
            Ok(cells) => Ok(Row { line, cells, places: &self.places }),
            // Cells of unknown columns, which are an error already.
            Err(_) => Err(Vec::new()),
        }
    }

    /// The next record and the line on which it begins.
    fn record(&mut self) -> Option<(u64, csv::ByteRecord)> {
        let mut record = csv::ByteRecord::new();
        // A reader of memory with flexible lengths has nothing to fail at.
        if !self.reader.read_byte_record(&mut record).unwrap_or(false) {
            return None;
        }
        let start = record.position().map_or(0, csv::Position::byte);
        Some((self.lines.of(start), record))
    }
}

fn check_cell(column: Column, cell: &[u8]) -> Result<(), &'static str> {
    match column {
        Column::Unknown => return Ok(()),
        Column::Unnamed if cell.trim_ascii().is_empty() => return Ok(()),
        Column::Unnamed => return Err("a cell stands under no column name; name it or empty it"),
        Column::Of(..) | Column::Id => {}
    }
    let Ok(text) = std::str::from_utf8(cell) else {
        return Err("is not valid text; save the file as UTF-8");
    };
    if text.contains(['\r', '\n', '\0']) {
        return Err("holds a line break or NUL; remove it (is a quote not closed?)");
    }
    // A password may hold what it likes; elsewhere a tab or escape is a slip or an attack.
    if !matches!(column, Column::Of(_, Field::Password)) && text.trim().contains(char::is_control) {
        return Err("holds a control character; remove it");
    }
    Ok(())
}

/// Takes off a byte order mark and turns UTF-16 into UTF-8. What is not text becomes a byte that
/// no UTF-8 has, to be found again in its cell.
pub(super) fn decode(data: &[u8]) -> Cow<'_, [u8]> {
    const NOT_TEXT: u8 = 0xFF;
    let (data, is_little_endian) = match data {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Cow::Borrowed(rest),
        [0xFF, 0xFE, rest @ ..] => (rest, true),
        [0xFE, 0xFF, rest @ ..] => (rest, false),
        // Without a mark: the header is ASCII, so every other byte of it is 0.
        [1..=0x7F, 0, ..] => (data, true),
        [0, 1..=0x7F, ..] => (data, false),
        _ => return Cow::Borrowed(data),
    };
    let unit = |bytes| match is_little_endian {
        true => u16::from_le_bytes(bytes),
        false => u16::from_be_bytes(bytes),
    };
    let pairs = data.chunks_exact(2);
    let is_cut = !pairs.remainder().is_empty();
    let units = pairs.map(|pair| unit([pair[0], pair[1]]));
    let mut text = Vec::with_capacity(data.len());
    for c in char::decode_utf16(units) {
        match c {
            Ok(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(_) => text.push(NOT_TEXT),
        }
    }
    if is_cut {
        text.push(NOT_TEXT);
    }
    Cow::Owned(text)
}

/// The delimiter that stands most often in the first line, outside quotes.
fn delimiter(data: &[u8]) -> u8 {
    let start = data.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for byte in &data[start..] {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\r' | b'\n' if !is_quoted => break,
            _ if !is_quoted => {
                for (delimiter, count) in &mut counts {
                    *count += usize::from(delimiter == byte);
                }
            }
            _ => {}
        }
    }
    let mut best = counts[0];
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

/// Counts lines up to a byte. The reader's own count is that of the line before wherever it has
/// yet to skip a line feed or blank lines.
struct Lines<'d> {
    data: &'d [u8],
    at: usize,
    line: u64,
}

impl<'d> Lines<'d> {
    fn new(data: &'d [u8]) -> Self {
        Self { data, at: 0, line: 1 }
    }

    /// The line of the first byte at or after `start` that ends no line. Never asked backwards.
    fn of(&mut self, start: u64) -> u64 {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        while let Some(&byte) = self.data.get(self.at) {
            let is_break = matches!(byte, b'\r' | b'\n');
            if self.at >= start && !is_break {
                break;
            }
            self.at += 1;
            // CR LF is one line break, told at its LF.
            let is_first_half = byte == b'\r' && self.data.get(self.at) == Some(&b'\n');
            self.line += u64::from(is_break && !is_first_half);
        }
        self.line
    }
}
