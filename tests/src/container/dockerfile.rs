//! The Dockerfile as data: its stages and their steps, in order.

use std::collections::BTreeMap;

/// The steps from one FROM to the next.
#[derive(Debug, Clone)]
pub struct BuildStage {
    /// Name of the stage, as COPY and other stages use it.
    pub name: String,
    /// The stage or image that it starts from.
    pub base: String,
    /// Its steps.
    pub steps: Vec<Instruction>,
}

/// An instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// Its keyword, in capitals.
    pub word: String,
    /// Its flags, without the dashes.
    pub flags: Vec<(String, String)>,
    /// The rest of the instruction.
    pub rest: String,
}

impl Instruction {
    /// The value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The rest as words: of a JSON array, or separated by blanks.
    pub fn words(&self) -> Vec<String> {
        words(&self.rest)
    }

    /// The names and values set by ENV or LABEL.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let pair = |word: String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut words = Vec::new();
        let mut is_quoted = false;
        for part in self.rest.split('"') {
            match (is_quoted, words.last_mut()) {
                (true, Some(word)) => *word += part,
                _ => words.extend(part.split_whitespace().map(str::to_owned)),
            }
            is_quoted = !is_quoted;
        }
        words.into_iter().map(|word| pair(word).unwrap_or_else(|| panic!("NAME=VALUE: {}", self.rest))).collect()
    }
}

/// The words of an instruction: of a JSON array, or separated by blanks.
pub(super) fn words(text: &str) -> Vec<String> {
    if text.starts_with('[') {
        return serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// Parses a Dockerfile.
///
/// # Panics
/// The file has a construct that this parser does not know.
pub fn parse(text: &str) -> Vec<BuildStage> {
    let mut stages: Vec<BuildStage> = Vec::new();
    for instruction in instructions(text) {
        let step = step(&instruction);
        if step.word == "FROM" {
            let words = step.words();
            let [base, how, name] = &words[..] else { panic!("FROM image AS name: {instruction}") };
            assert!(how.eq_ignore_ascii_case("as"), "{instruction}");
            stages.push(BuildStage { name: name.clone(), base: base.clone(), steps: Vec::new() });
        } else {
            stages.last_mut().expect("FROM comes first").steps.push(step);
        }
    }
    stages
}

/// Each instruction on one line, without comments.
fn instructions(text: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(part) => open += part,
            None => instructions.push(std::mem::take(&mut open) + line),
        }
    }
    assert!(open.is_empty(), "the last instruction does not end: {open}");
    instructions
}

fn step(instruction: &str) -> Instruction {
    let (word, mut rest) = instruction.split_once(' ').unwrap_or((instruction, ""));
    let mut flags = Vec::new();
    while let Some(after) = rest.trim_start().strip_prefix("--") {
        let (flag, after) = after.split_once(' ').unwrap_or((after, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        flags.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    Instruction { word: word.to_uppercase(), flags, rest: rest.trim().to_owned() }
}
