//! What the user wants of mailboxes: which are copied, and where they go. Read and checked before
//! anything is started.

use regex::{Regex, RegexBuilder};

use super::labels::GmailLabels;
use super::roles::Candidates;
use crate::mail::{MailboxPath, Namespaces, SpecialUse};

/// Rules for all accounts. Without any, every mailbox is copied to where its like is.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Where mailboxes go; the first rule that a mailbox matches counts.
    pub map: Vec<MapRule>,
    /// Only these are copied; all, where there are none.
    pub include: Vec<Pattern>,
    /// These are not.
    pub exclude: Vec<Pattern>,
    /// Whether two source mailboxes may end in one, where rules or uses say so.
    pub merge: bool,
    /// What becomes of messages with several labels, at a source that has such.
    pub labels: GmailLabels,
    /// Whose mailboxes are copied, in accounts without a source root.
    pub namespaces: Namespaces,
}

/// A pattern of mailboxes, as in IMAP's LIST: `*` stands for anything, `%` for anything within one
/// name, and `/*` at the end for the mailbox itself and all below it. A backslash takes the next
/// character as it is. Case does not matter.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As it was written.
    pub text: String,
    shape: Shape,
}

/// A rule that says where mailboxes go.
#[derive(Debug, Clone)]
pub struct MapRule {
    /// As it was written.
    pub text: String,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// A shape, and what stands between the wildcards of where it goes.
    Glob(Shape, Vec<String>),
    /// What is replaced, by what (as the regex crate takes it), and whether everywhere in the name.
    Regex(Regex, String, bool),
}

/// A pattern made ready.
#[derive(Debug, Clone)]
struct Shape {
    regex: Regex,
    /// Whether it begins with one of Exchange's words.
    has_word: bool,
}

/// Exchange's words for mailboxes of a use, whatever their names.
const WORDS: [(&str, Option<SpecialUse>); 7] = [
    ("Inbox", None),
    ("Root", None),
    ("SentItems", Some(SpecialUse::Sent)),
    ("DeletedItems", Some(SpecialUse::Trash)),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("JunkEmail", Some(SpecialUse::Junk)),
    ("Archive", Some(SpecialUse::Archive)),
];

/// What a mailbox is called in patterns: its path, then paths below Exchange's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Shape {
    fn captures<'n>(&self, names: &'n Names) -> Option<regex::Captures<'n>> {
        let names = if self.has_word { &names.0[..] } else { &names.0[..1] };
        names.iter().find_map(|name| self.regex.captures(name))
    }
}

impl Names {
    /// The names of a mailbox of an account in which mailboxes are for these uses.
    #[must_use]
    pub fn of(path: &MailboxPath, uses: &Candidates) -> Self {
        let mut names = vec![path.to_string(), format!("Root/{path}")];
        for (word, special_use) in WORDS {
            let places = special_use.and_then(|special_use| uses.get(&special_use));
            for (place, _) in places.into_iter().flatten().filter(|(place, _)| path.is_in(place)) {
                let below = &path.names()[place.names().len()..];
                names.push(MailboxPath::new([word]).join(below).to_string());
            }
        }
        Self(names)
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let glob = Glob::parse(text)?;
        Ok(Self { text: text.to_owned(), shape: glob.shape()? })
    }

    /// Whether a mailbox of these names is meant.
    #[must_use]
    pub fn matches(&self, names: &Names) -> bool {
        self.shape.captures(names).is_some()
    }
}

impl MapRule {
    /// Reads `Old=New`: a [`Pattern`], and the path where what it matches goes. A wildcard on the right
    /// stands for what the one in the same place on the left matched.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut is_escaped = false;
        let middle = text.char_indices().find(|(_, c)| {
            let is_middle = *c == '=' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_middle
        });
        let Some((middle, _)) = middle else {
            return Err("has no =; write SOURCE=TARGET, as in 'Old mail=Archive/Old'".to_owned());
        };
        let (from, to) = (Glob::parse(&text[..middle])?, Glob::parse(&text[middle + 1..])?);
        if to.wildcards() > from.wildcards() {
            let text = "has more wildcards after the = than before it; each on the right stands for \
                        one on the left";
            return Err(text.to_owned());
        }
        let rule = Rule::Glob(from.shape()?, to.between());
        Ok(Self { text: text.to_owned(), rule })
    }

    /// Reads `s/old/new/`, as sed writes it: any character may stand for the `/`, `$1` or `\1` for a
    /// group, `i` behind it makes case not matter, `g` replaces everywhere.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to do.
    pub fn parse_regex(text: &str) -> Result<Self, String> {
        const FORM: &str = "write s/OLD/NEW/, as in 's/^Projects/Archive/'";
        let mut characters = text.strip_prefix('s').unwrap_or_default().chars();
        let delimiter = characters.next().filter(|c| c.is_ascii_punctuation() && *c != '\\');
        let delimiter = delimiter.ok_or_else(|| format!("is no replacement; {FORM}"))?;
        let mut parts = vec![String::new()];
        while let Some(c) = characters.next() {
            let part = parts.last_mut().ok_or(FORM)?;
            match c {
                c if c == delimiter => parts.push(String::new()),
                '\\' => match characters.next() {
                    Some(next) if next == delimiter => part.push(next),
                    Some(next) => part.extend(['\\', next]),
                    None => part.push('\\'),
                },
                c => part.push(c),
            }
        }
        let [from, to, options] = parts.as_slice() else {
            return Err(format!("must have three {delimiter}; {FORM}"));
        };
        if let Some(unknown) = options.chars().find(|option| !matches!(option, 'g' | 'i')) {
            return Err(format!("has the unknown option {unknown:?}; there are g and i"));
        }
        let regex = RegexBuilder::new(from)
            .case_insensitive(options.contains('i'))
            .build()
            .map_err(|error| regex_error(&error))?;
        let to = replacement(to, regex.captures_len())?;
        let rule = Rule::Regex(regex, to, options.contains('g'));
        Ok(Self { text: text.to_owned(), rule })
    }

    /// Reads a file of rules: one a line, `Old=New` or `s/old/new/`; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// Each line that is wrong, by its number.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, Vec<(usize, String)>> {
        let mut rules = Vec::new();
        let mut wrong = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_regex = line
                .strip_prefix('s')
                .and_then(|rest| rest.chars().next())
                .is_some_and(|c| c.is_ascii_punctuation() && !matches!(c, '=' | '\\' | '-' | '_'));
            match if is_regex { Self::parse_regex(line) } else { Self::parse(line) } {
                Ok(rule) => rules.push(rule),
                Err(text) => wrong.push((number, text)),
            }
        }
        if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
    }

    /// Where a mailbox of these names goes; none if the rule is not about it.
    #[must_use]
    pub fn apply(&self, names: &Names) -> Option<MailboxPath> {
        let to = match &self.rule {
            Rule::Glob(shape, between) => {
                let groups = shape.captures(names)?;
                let mut to = between.first().cloned().unwrap_or_default();
                for (group, text) in (1..).zip(&between[1..]) {
                    let matched = groups.get(group).map_or("", |group| group.as_str());
                    // `/*` at the end stands for the mailbox itself as well.
                    let to_itself = to.strip_suffix('/').filter(|_| matched.is_empty());
                    to = to_itself.map(str::to_owned).unwrap_or(to) + matched + text;
                }
                to
            }
            Rule::Regex(regex, to, everywhere) => {
                let name = names.0.first().filter(|name| regex.is_match(name))?;
                let times = if *everywhere { 0 } else { 1 };
                regex.replacen(name, times, to.as_str()).into_owned()
            }
        };
        let names = to.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        MailboxPath::parse(&names)
    }
}

/// A pattern in pieces.
struct Glob(Vec<Piece>);

enum Piece {
    Text(String),
    /// `*`
    Any,
    /// `%`
    Name,
}

impl Glob {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = match text.strip_prefix('#').and_then(|text| text.split_once('#')) {
            Some((word, rest)) => format!("{}{rest}", known_word(word)?),
            None => text.to_owned(),
        };
        if text.is_empty() {
            return Err("is empty; write the path of a mailbox, as in Projects/2019".to_owned());
        }
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            let text = "has an empty name before or behind a /; write it as in Projects/2019, and a \
                        / within a name as \\/";
            return Err(text.to_owned());
        }
        let mut pieces = vec![Piece::Text(String::new())];
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            let text = match c {
                '*' => {
                    pieces.extend([Piece::Any, Piece::Text(String::new())]);
                    continue;
                }
                '%' => {
                    pieces.extend([Piece::Name, Piece::Text(String::new())]);
                    continue;
                }
                '/' => "/".to_owned(),
                '\\' => {
                    let next = characters.next().ok_or("ends with a backslash; write it twice")?;
                    MailboxPath::new([next]).to_string()
                }
                c if c.is_control() => {
                    return Err("holds a control character; remove it".to_owned());
                }
                c => c.to_string(),
            };
            if let Some(Piece::Text(last)) = pieces.last_mut() {
                last.push_str(&text);
            }
        }
        Ok(Self(pieces))
    }

    fn wildcards(&self) -> usize {
        self.0.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count()
    }

    /// The text between wildcards.
    fn between(self) -> Vec<String> {
        let text = |piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Any | Piece::Name => None,
        };
        self.0.into_iter().filter_map(text).collect()
    }

    /// Matches paths as they are shown.
    fn shape(&self) -> Result<Shape, String> {
        let mut regex = String::from("\\A");
        let root_alone =
            matches!(&self.0[..], [Piece::Text(text)] if text.eq_ignore_ascii_case("Root"));
        let first = match self.0.first() {
            Some(Piece::Text(text)) => text.split('/').next().unwrap_or_default(),
            _ => "",
        };
        let has_word = WORDS.iter().any(|(word, _)| word.eq_ignore_ascii_case(first));
        let ends_below = matches!(&self.0[..], [.., Piece::Text(above), Piece::Any, Piece::Text(end)]
            if above.ends_with('/') && end.is_empty());
        for (index, piece) in self.0.iter().enumerate() {
            let is_last_wildcard = index + 2 == self.0.len();
            match piece {
                Piece::Text(text) if ends_below && index + 3 == self.0.len() => {
                    regex += &regex::escape(&text[..text.len() - 1]);
                }
                Piece::Text(text) => regex += &regex::escape(text),
                Piece::Any if ends_below && is_last_wildcard => {
                    regex += r"(?:/((?:\\.|[^\\])*))?";
                }
                Piece::Any => regex += r"((?:\\.|[^\\])*)",
                Piece::Name => regex += r"((?:\\.|[^/\\])*)",
            }
        }
        regex += if root_alone { r"(?:/(?:\\.|[^/\\])*)?\z" } else { r"\z" };
        let mut builder = RegexBuilder::new(&regex);
        builder.case_insensitive(true).dot_matches_new_line(true);
        let regex = builder.build().map_err(|error| regex_error(&error))?;
        Ok(Shape { regex, has_word })
    }
}

fn known_word(word: &str) -> Result<&'static str, String> {
    let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    known.map(|(known, _)| *known).ok_or_else(|| {
        let all = WORDS.map(|(known, _)| known).join(", ");
        format!("there is no mailbox word #{word}#; the words are {all}")
    })
}

/// `\1` and `$1` as the regex crate has them, and other dollars as they are.
fn replacement(text: &str, groups: usize) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().copied()) {
            ('\\' | '$', Some(digit)) if digit.is_ascii_digit() => {
                rest.next();
                let group = digit.to_digit(10).unwrap_or_default();
                if group as usize >= groups {
                    return Err(format!("names the group {c}{digit}, which its left side has not"));
                }
                made += &format!("${{{group}}}");
            }
            ('$', _) => made.push_str("$$"),
            (c, _) => made.push(c),
        }
    }
    Ok(made)
}

/// The last line of the error says what is wrong; those before show where.
fn regex_error(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    format!("is no regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::roles::Known;

    fn path(text: &str) -> MailboxPath {
        MailboxPath::parse(text).expect("a path")
    }

    fn names(text: &str) -> Names {
        let place = (path("Gesendet"), Known::ByName("German"));
        Names::of(&path(text), &Candidates::from([(SpecialUse::Sent, vec![place])]))
    }

    fn is_meant(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(&names(name))
    }

    fn mapped(rule: &str, name: &str) -> Option<String> {
        MapRule::parse(rule).expect(rule).apply(&names(name)).map(|path| path.to_string())
    }

    fn replaced(rule: &str, name: &str) -> Option<String> {
        MapRule::parse_regex(rule).expect(rule).apply(&names(name)).map(|path| path.to_string())
    }

    #[test]
    fn wildcards_are_those_of_list() {
        for (pattern, meant, not_meant) in [
            ("Work", &["Work", "work"][..], &["Work/2019", "Works"][..]),
            ("Work*", &["Work", "Works", "Work/2019"], &["Old Work"]),
            ("Work/*", &["Work", "Work/2019", "Work/2019/May"], &["Works"]),
            ("Work/%", &["Work/2019"], &["Work", "Work/2019/May"]),
            ("*/2019", &["Work/2019", "a/b/2019"], &["2019", "Work/2019/May"]),
            ("100\\%", &["100%"], &["1000"]),
            (r"a\/b", &[r"a\/b"], &["a/b"]),
            ("a*/b", &["a/b", "aa/c/b"], &[r"a\/b"]),
            ("*", &["x", "x/y"], &[]),
            ("inbox", &["INBOX"], &["INBOX/a"]),
            ("[a.c]+", &["[a.c]+"], &["a", "[abc]+"]),
        ] {
            for name in meant {
                assert!(is_meant(pattern, name), "{pattern} means {name}");
            }
            for name in not_meant {
                assert!(!is_meant(pattern, name), "{pattern} does not mean {name}");
            }
        }
    }

    #[test]
    fn exchange_s_words_stand_for_uses_whatever_the_names() {
        for pattern in ["SentItems", "sentitems", "#SentItems#", "SentItems/*", "Root", "Root/*"] {
            assert!(is_meant(pattern, "Gesendet"), "{pattern}");
        }
        assert!(
            is_meant("SentItems/*", "Gesendet/2019") && !is_meant("SentItems", "Gesendet/2019")
        );
        assert!(is_meant("Root/*", "a/b") && !is_meant("Root", "a/b") && is_meant("Root", "a"));
        assert!(!is_meant("DeletedItems", "Gesendet"));
    }

    #[test]
    fn rules_carry_what_wildcards_matched() {
        for (rule, name, to) in [
            ("Old=New", "Old", Some("New")),
            ("Old=New", "Old/a", None),
            ("Projects/*=Archive/Projects/*", "Projects/a/b", Some("Archive/Projects/a/b")),
            ("Projects/*=Archive/Projects/*", "Projects", Some("Archive/Projects")),
            ("*/%=%/*", "a/b/c", Some("a/b/c")),
            ("Old/*=*", "Old/a", Some("a")),
            ("Old/*=*", "Old", None),
            (r"a\=b=c\/d", "a=b", Some(r"c\/d")),
            ("SentItems/*=Sent/*", "Gesendet/2019", Some("Sent/2019")),
            ("*=*", r"a\/b", Some(r"a\/b")),
        ] {
            assert_eq!(mapped(rule, name).as_deref(), to, "{rule} of {name}");
        }
    }

    #[test]
    fn regular_expressions_replace_as_sed_does() {
        for (rule, name, to) in [
            ("s/^Old/New/", "Old/a", Some("New/a")),
            ("s/^old/New/", "Old/a", None),
            ("s/^old/New/i", "Old/a", Some("New/a")),
            ("s/a/b/", "aa", Some("ba")),
            ("s/a/b/g", "aa", Some("bb")),
            ("s|^(\\w+)/(\\d+)$|$2/\\1|", "Work/2019", Some("2019/Work")),
            (r"s/(x)\/(y)/$1y$$ $/", "x/y", Some("xy$$ $")),
            ("s/.*//", "a", None),
            ("s/a$//", "b/a", Some("b")),
        ] {
            assert_eq!(replaced(rule, name).as_deref(), to, "{rule} of {name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let pattern = |text| Pattern::parse(text).expect_err(text);
        assert!(pattern("").starts_with("is empty"));
        assert!(pattern("/a").starts_with("has an empty name"));
        assert!(pattern("a//b").starts_with("has an empty name"));
        assert!(pattern("a\\").starts_with("ends with a backslash"));
        assert!(pattern("#Calendar#").contains("the words are Inbox, Root, SentItems"));
        let rule = |text| MapRule::parse(text).expect_err(text);
        assert!(rule("Old").starts_with("has no ="));
        assert!(rule("Old=").starts_with("is empty"));
        assert!(rule("a/*=b/*/*").starts_with("has more wildcards"));
        let regex = |text| MapRule::parse_regex(text).expect_err(text);
        assert!(regex("Old=New").starts_with("is no replacement"));
        assert!(regex("s/a/b").starts_with("must have three /"));
        assert!(regex("s/(a/b/").contains("unclosed group"), "{}", regex("s/(a/b/"));
        assert!(regex("s/a/b/x").contains("unknown option 'x'"));
        assert!(regex("s/a/$1/").contains("names the group $1"));
    }

    #[test]
    fn a_file_of_rules_tells_every_line_that_is_wrong() {
        let rules = MapRule::parse_lines("\u{feff}# ours\n\nOld=New\r\ns/^a/b/\nsent=Sent\ns=t\n");
        let texts: Vec<String> = rules.expect("good").into_iter().map(|rule| rule.text).collect();
        assert_eq!(texts, ["Old=New", "s/^a/b/", "sent=Sent", "s=t"]);
        let wrong = MapRule::parse_lines("Old\na=b\ns/a/b\n").expect_err("bad");
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    }
}
