//! Parser of nats-server's configuration format, for the features that the shipped files use: maps, lists, words,
//! strings, comments.

use std::iter::Peekable;
use std::str::CharIndices;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// Most nesting levels; deeper nesting is a mistake.
const DEPTH_MAX: usize = 16;

/// Reads the body of a map.
///
/// # Errors
/// A violation of the format, with its line.
pub(crate) fn parse(text: &str) -> anyhow::Result<Value> {
    let mut tokens = Tokens { text, chars: text.char_indices().peekable(), line: 1 };
    let map = tokens.map(None, 0).with_context(|| format!("line {}", tokens.line))?;
    Ok(Value::Object(map))
}

#[derive(Debug, PartialEq)]
enum Token {
    /// One of `{ } [ ]`.
    Sign(char),
    Word(String),
    Text(String),
}

struct Tokens<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn map(&mut self, end: Option<char>, depth: usize) -> anyhow::Result<Map<String, Value>> {
        let mut map = Map::new();
        loop {
            let key = match (self.next()?, end) {
                (None, None) => return Ok(map),
                (Some(Token::Sign(sign)), Some(end)) if sign == end => return Ok(map),
                (Some(Token::Word(key) | Token::Text(key)), _) => key,
                (found, _) => bail!("expected a name, found {found:?}"),
            };
            let token = self.next()?.with_context(|| format!("{key} has no value"))?;
            let value = self.value(token, depth + 1)?;
            if map.insert(key.clone(), value).is_some() {
                bail!("{key} is set twice");
            }
        }
    }

    fn list(&mut self, depth: usize) -> anyhow::Result<Vec<Value>> {
        let mut list = Vec::new();
        loop {
            match self.next()?.context("a list has no end")? {
                Token::Sign(']') => return Ok(list),
                token => list.push(self.value(token, depth + 1)?),
            }
        }
    }

    fn value(&mut self, token: Token, depth: usize) -> anyhow::Result<Value> {
        if depth > DEPTH_MAX {
            bail!("nested more than {DEPTH_MAX} deep");
        }
        Ok(match token {
            Token::Sign('{') => Value::Object(self.map(Some('}'), depth)?),
            Token::Sign('[') => Value::Array(self.list(depth)?),
            Token::Sign(sign) => bail!("expected a value, found {sign}"),
            Token::Word(word) => word.parse::<i64>().map_or(Value::String(word), Value::from),
            Token::Text(text) => Value::String(text),
        })
    }

    /// The next token; commas, colons and equals signs count as separators, like spaces.
    fn next(&mut self) -> anyhow::Result<Option<Token>> {
        while let Some((start, char)) = self.chars.next() {
            match char {
                '\n' => self.line += 1,
                '#' => while self.chars.next_if(|(_, char)| *char != '\n').is_some() {},
                '{' | '}' | '[' | ']' => return Ok(Some(Token::Sign(char))),
                '"' | '\'' => return self.quoted(start + 1, char).map(|text| Some(Token::Text(text))),
                ',' | ':' | '=' => {}
                char if char.is_whitespace() => {}
                _ => return Ok(Some(Token::Word(self.word(start)))),
            }
        }
        Ok(None)
    }

    fn quoted(&mut self, start: usize, quote: char) -> anyhow::Result<String> {
        for (end, char) in self.chars.by_ref() {
            match char {
                char if char == quote => return Ok(self.text[start..end].to_owned()),
                '\n' | '\\' => break,
                _ => {}
            }
        }
        bail!("a string must end in its line and hold no backslash")
    }

    fn word(&mut self, start: usize) -> String {
        let mut end = start + 1;
        while let Some((at, char)) =
            self.chars.next_if(|(_, char)| !char.is_whitespace() && !"{}[],:=#\"'".contains(*char))
        {
            end = at + char.len_utf8();
        }
        self.text[start..end].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_lists_words_and_strings_are_read() {
        let text = "# who\nA {\n user: b-c, password = $P # secret\n list: [\"$JS.API.>\" 'x' { n: 12 }]\n}\n";
        let expected = json!({ "A": { "user": "b-c", "password": "$P", "list": ["$JS.API.>", "x", { "n": 12 }] } });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_violation_of_the_format_is_refused_with_its_line() {
        for (text, line) in [
            ("a {\n b: c\n", "line 3"),
            ("a: [1\n2", "line 2"),
            ("a: \"x\n", "line 1"),
            ("a: 1\na: 2", "line 2"),
            ("a: }", "line 1"),
            ("\na", "line 2"),
            (&format!("a: {}", "[".repeat(40)), "line 1"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}
