//! Sources as trees, with names resolved.
//!
//! The tree has what the analysis asks for, no more: operators are all alike but for `#` and `..`, so
//! that `a + b * c` is one operation on three values, and a chain `a.b[c](d)` is one value with what
//! follows it. Nothing in a tree is nested more deeply than the source nests brackets, blocks and
//! functions, and there is a limit on these.
//!
//! Scopes are Lua 5.1's: every local that was ever declared has a number ([`LocalId`]), and knows the function
//! that declared it and how often it was assigned afterwards.

use std::borrow::Cow;
use std::collections::HashMap;

use super::SOURCE_BYTES_MAX;
use super::lexer::{Lexer, Token};

/// Most brackets, blocks and functions that are within each other.
const DEPTH_MAX: u32 = 60;

pub(super) type LocalId = usize;
/// The main chunk is 0.
pub(super) type FunctionId = usize;

/// A source.
pub(super) struct Tree<'a> {
    /// Functions, the main chunk first.
    pub functions: Vec<Function<'a>>,
    pub locals: Vec<Local>,
}

pub(super) struct Function<'a> {
    /// Named parameters, `self` included.
    pub params: Vec<LocalId>,
    pub body: Block<'a>,
}

pub(super) struct Local {
    /// Whose local it is.
    pub function: FunctionId,
    /// Assignments besides the declaration.
    pub assigned: u32,
    /// One of them is in another function than the declaration.
    pub is_assigned_inside: bool,
}

pub(super) type Block<'a> = Vec<Statement<'a>>;

pub(super) enum Statement<'a> {
    Local(Vec<LocalId>, Vec<Value<'a>>),
    Assign(Vec<Value<'a>>, Vec<Value<'a>>),
    Call(Value<'a>),
    Do(Block<'a>),
    /// `while` and `repeat`.
    Loop(Value<'a>, Block<'a>),
    /// Conditions with their blocks; `else` has no condition.
    If(Vec<(Option<Value<'a>>, Block<'a>)>),
    /// Start, end, and step.
    For(Vec<Value<'a>>, Block<'a>),
    ForIn(Vec<LocalId>, Vec<Value<'a>>, Block<'a>),
    /// `function a.b.c() end`
    Function(Value<'a>, FunctionId),
    LocalFunction(LocalId, FunctionId),
    Return(Vec<Value<'a>>),
    Break,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name<'a> {
    Local(LocalId),
    Global(&'a [u8]),
}

pub(super) enum Value<'a> {
    /// `nil`, `true`, `false`
    Constant,
    /// If it is a small integer: which.
    Number(Option<i64>),
    String(Cow<'a, [u8]>),
    Vararg,
    Function(FunctionId),
    Name(Name<'a>),
    /// A value and what follows it, at least one.
    Chain(Box<Value<'a>>, Vec<Link<'a>>),
    Parentheses(Box<Value<'a>>),
    /// Keys, if there are any, and values.
    Table(Vec<(Option<Value<'a>>, Value<'a>)>),
    /// `#value`
    Length(Box<Value<'a>>),
    /// Operators between (or before) values; whether `..` is among them.
    Operation(Vec<Value<'a>>, bool),
}

pub(super) enum Link<'a> {
    /// `.name`
    Field(&'a [u8]),
    /// `[value]`
    Index(Value<'a>),
    /// `(values)`
    Call(Vec<Value<'a>>),
    /// `:name(values)`
    Method(&'a [u8], Vec<Value<'a>>),
}

impl Value<'_> {
    /// Whether it may be several values, or none, where it is the last of a list.
    pub(super) fn is_multiple(&self) -> bool {
        match self {
            Value::Vararg => true,
            Value::Chain(_, links) => {
                matches!(links.last(), Some(Link::Call(_) | Link::Method(..)))
            }
            _ => false,
        }
    }
}

/// What [`visit`] comes to.
#[derive(Clone, Copy)]
pub(super) enum Seen<'v, 'a> {
    Value(&'v Value<'a>),
    /// Something is assigned to it.
    Target(&'v Value<'a>),
    /// All that a `for` ... `in` goes through: nothing else gets hold of its value.
    Iterator(&'v Value<'a>),
}

/// Shows all values in a block, outer ones first, those of functions inside not included. Names that
/// begin a chain, or of which the length is asked, are not shown on their own. What is inside of a value for
/// which `seen` says false is not shown.
pub(super) fn visit<'a>(block: &Block<'a>, seen: &mut dyn FnMut(Seen<'_, 'a>) -> bool) {
    for statement in block {
        match statement {
            Statement::Local(_, values) | Statement::Return(values) => visit_values(values, seen),
            Statement::Assign(targets, values) => {
                for target in targets {
                    visit_value(Seen::Target(target), seen);
                }
                visit_values(values, seen);
            }
            Statement::Call(value) => visit_value(Seen::Value(value), seen),
            Statement::Do(body) => visit(body, seen),
            Statement::Loop(condition, body) => {
                visit_value(Seen::Value(condition), seen);
                visit(body, seen);
            }
            Statement::If(branches) => {
                for (condition, body) in branches {
                    if let Some(condition) = condition {
                        visit_value(Seen::Value(condition), seen);
                    }
                    visit(body, seen);
                }
            }
            Statement::For(values, body) => {
                visit_values(values, seen);
                visit(body, seen);
            }
            Statement::ForIn(_, values, body) => {
                match &values[..] {
                    [value] => visit_value(Seen::Iterator(value), seen),
                    values => visit_values(values, seen),
                }
                visit(body, seen);
            }
            Statement::Function(target, id) => {
                visit_value(Seen::Target(target), seen);
                visit_value(Seen::Value(&Value::Function(*id)), seen);
            }
            Statement::LocalFunction(_, id) => {
                visit_value(Seen::Value(&Value::Function(*id)), seen);
            }
            Statement::Break => {}
        }
    }
}

fn visit_values<'a>(values: &[Value<'a>], seen: &mut dyn FnMut(Seen<'_, 'a>) -> bool) {
    for value in values {
        visit_value(Seen::Value(value), seen);
    }
}

fn visit_value<'a>(shown: Seen<'_, 'a>, seen: &mut dyn FnMut(Seen<'_, 'a>) -> bool) {
    if !seen(shown) {
        return;
    }
    let (Seen::Value(value) | Seen::Target(value) | Seen::Iterator(value)) = shown;
    match value {
        Value::Chain(base, links) => {
            if !matches!(**base, Value::Name(_)) {
                visit_value(Seen::Value(base), seen);
            }
            for link in links {
                match link {
                    Link::Field(_) => {}
                    Link::Index(index) => visit_value(Seen::Value(index), seen),
                    Link::Call(values) | Link::Method(_, values) => visit_values(values, seen),
                }
            }
        }
        Value::Length(inner) if matches!(**inner, Value::Name(_)) => {}
        Value::Length(inner) | Value::Parentheses(inner) => visit_value(Seen::Value(inner), seen),
        Value::Table(entries) => {
            for (key, value) in entries {
                if let Some(key) = key {
                    visit_value(Seen::Value(key), seen);
                }
                visit_value(Seen::Value(value), seen);
            }
        }
        Value::Operation(parts, _) => visit_values(parts, seen),
        _ => {}
    }
}

/// `None` if it is not understood.
pub(super) fn parse(source: &[u8]) -> Option<Tree<'_>> {
    if source.len() > SOURCE_BYTES_MAX {
        return None;
    }
    let mut parser = Parser {
        lexer: Lexer::new(source),
        token: Token::End,
        functions: Vec::new(),
        locals: Vec::new(),
        visible: HashMap::new(),
        scope: Vec::new(),
        owners: Vec::new(),
        depth: 0,
    };
    parser.advance()?;
    parser.function(|parser| {
        let body = parser.block()?;
        (parser.token == Token::End).then_some((Vec::new(), body))
    })?;
    Some(Tree {
        functions: parser.functions.into_iter().collect::<Option<_>>()?,
        locals: parser.locals,
    })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Those that are not finished are `None`.
    functions: Vec<Option<Function<'a>>>,
    locals: Vec<Local>,
    /// Locals by name, the innermost last.
    visible: HashMap<&'a [u8], Vec<LocalId>>,
    /// Names that were declared and are visible, in order.
    scope: Vec<&'a [u8]>,
    /// Functions that are being read, the innermost last.
    owners: Vec<FunctionId>,
    depth: u32,
}

impl<'a> Parser<'a> {
    // --- words --------------------------------------------------------------------------------------

    fn advance(&mut self) -> Option<Token<'a>> {
        let next = self.lexer.next()?;
        Some(std::mem::replace(&mut self.token, next))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.token, Token::Sign(it) if *it == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(it) if *it == word.as_bytes())
    }

    /// Takes a sign or a keyword, if it comes.
    fn accept(&mut self, text: &str) -> Option<bool> {
        let is_here = self.is_sign(text) || self.is_word(text);
        if is_here {
            self.advance()?;
        }
        Some(is_here)
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.accept(text)?.then_some(())
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        match self.advance()? {
            Token::Word(word) if !is_keyword(word) => Some(word),
            _ => None,
        }
    }

    // --- scopes -------------------------------------------------------------------------------------

    /// Reads what is one level deeper.
    fn deeper<R>(&mut self, read: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    /// Reads what has a scope of its own.
    fn scoped<R>(&mut self, read: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        let before = self.scope.len();
        let done = self.deeper(read)?;
        for name in self.scope.drain(before..) {
            if let Some(ids) = self.visible.get_mut(name) {
                ids.pop();
            }
        }
        Some(done)
    }

    fn declare(&mut self, name: &'a [u8]) -> LocalId {
        let id = self.locals.len();
        self.locals.push(Local {
            function: self.owners.last().copied().unwrap_or(0),
            assigned: 0,
            is_assigned_inside: false,
        });
        self.visible.entry(name).or_default().push(id);
        self.scope.push(name);
        id
    }

    fn resolve(&self, name: &'a [u8]) -> Name<'a> {
        let id = self.visible.get(name).and_then(|ids| ids.last());
        id.map_or(Name::Global(name), |&id| Name::Local(id))
    }

    /// Reads a function's parameters and body.
    fn function(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<(Vec<LocalId>, Block<'a>)>,
    ) -> Option<FunctionId> {
        let id = self.functions.len();
        self.functions.push(None);
        self.owners.push(id);
        let (params, body) = self.scoped(read)?;
        self.owners.pop();
        self.functions[id] = Some(Function { params, body });
        Some(id)
    }

    /// From the parameters on.
    fn function_rest(&mut self, is_method: bool) -> Option<FunctionId> {
        self.function(|parser| {
            let mut params = Vec::new();
            if is_method {
                params.push(parser.declare(b"self"));
            }
            parser.expect("(")?;
            while !parser.accept(")")? {
                if parser.accept("...")? {
                    parser.declare(b"arg");
                    parser.expect(")")?;
                    break;
                }
                let name = parser.name()?;
                params.push(parser.declare(name));
                if !parser.accept(",")? {
                    parser.expect(")")?;
                    break;
                }
            }
            let body = parser.block()?;
            parser.expect("end")?;
            Some((params, body))
        })
    }

    // --- statements ---------------------------------------------------------------------------------

    fn block(&mut self) -> Option<Block<'a>> {
        let mut block = Vec::new();
        loop {
            if self.token == Token::End
                || ["end", "else", "elseif", "until"]
                    .iter()
                    .any(|word| self.is_word(word))
            {
                return Some(block);
            }
            let statement = self.statement()?;
            self.accept(";")?;
            let is_last = matches!(statement, Statement::Return(_) | Statement::Break);
            block.push(statement);
            if is_last {
                return Some(block);
            }
        }
    }

    fn scoped_block(&mut self) -> Option<Block<'a>> {
        self.scoped(|parser| parser.block())
    }

    fn statement(&mut self) -> Option<Statement<'a>> {
        let Token::Word(word) = self.token else {
            return self.other_statement();
        };
        match word {
            b"local" => self.local(),
            b"if" => self.condition(),
            b"for" => self.for_loop(),
            b"do" => {
                self.advance()?;
                let body = self.scoped_block()?;
                self.expect("end")?;
                Some(Statement::Do(body))
            }
            b"while" => {
                self.advance()?;
                let condition = self.value()?;
                self.expect("do")?;
                let body = self.scoped_block()?;
                self.expect("end")?;
                Some(Statement::Loop(condition, body))
            }
            b"repeat" => {
                self.advance()?;
                // What the body declares is visible to the condition.
                let (condition, body) = self.scoped(|parser| {
                    let body = parser.block()?;
                    parser.expect("until")?;
                    Some((parser.value()?, body))
                })?;
                Some(Statement::Loop(condition, body))
            }
            b"function" => self.named_function(),
            b"return" => {
                self.advance()?;
                let ends = ["end", "else", "elseif", "until"];
                let is_bare = self.token == Token::End
                    || self.is_sign(";")
                    || ends.iter().any(|word| self.is_word(word));
                let values = if is_bare { Vec::new() } else { self.values()? };
                Some(Statement::Return(values))
            }
            b"break" => {
                self.advance()?;
                Some(Statement::Break)
            }
            _ => self.other_statement(),
        }
    }

    fn local(&mut self) -> Option<Statement<'a>> {
        self.advance()?;
        if self.accept("function")? {
            let name = self.name()?;
            let id = self.declare(name);
            return Some(Statement::LocalFunction(id, self.function_rest(false)?));
        }
        let mut names = vec![self.name()?];
        while self.accept(",")? {
            names.push(self.name()?);
        }
        let values = match self.accept("=")? {
            true => self.values()?,
            false => Vec::new(),
        };
        let ids = names.into_iter().map(|name| self.declare(name)).collect();
        Some(Statement::Local(ids, values))
    }

    fn condition(&mut self) -> Option<Statement<'a>> {
        self.advance()?;
        let mut branches = Vec::new();
        loop {
            let condition = self.value()?;
            self.expect("then")?;
            branches.push((Some(condition), self.scoped_block()?));
            if self.accept("elseif")? {
                continue;
            }
            if self.accept("else")? {
                branches.push((None, self.scoped_block()?));
            }
            self.expect("end")?;
            return Some(Statement::If(branches));
        }
    }

    fn for_loop(&mut self) -> Option<Statement<'a>> {
        self.advance()?;
        let mut names = vec![self.name()?];
        let is_numeric = self.accept("=")?;
        if !is_numeric {
            while self.accept(",")? {
                names.push(self.name()?);
            }
            self.expect("in")?;
        }
        let values = self.values()?;
        self.expect("do")?;
        let (ids, body) = self.scoped(|parser| {
            let ids: Vec<_> = names.iter().map(|&name| parser.declare(name)).collect();
            Some((ids, parser.block()?))
        })?;
        self.expect("end")?;
        match is_numeric {
            true => Some(Statement::For(values, body)),
            false => Some(Statement::ForIn(ids, values, body)),
        }
    }

    fn named_function(&mut self) -> Option<Statement<'a>> {
        self.advance()?;
        let name = self.name()?;
        let base = Value::Name(self.resolve(name));
        let mut links = Vec::new();
        let mut is_method = false;
        while !is_method && (self.is_sign(".") || self.is_sign(":")) {
            is_method = self.is_sign(":");
            self.advance()?;
            links.push(Link::Field(self.name()?));
        }
        let target = match links.is_empty() {
            true => base,
            false => Value::Chain(Box::new(base), links),
        };
        self.assigned(&target);
        Some(Statement::Function(target, self.function_rest(is_method)?))
    }

    /// A call or an assignment.
    fn other_statement(&mut self) -> Option<Statement<'a>> {
        let first = self.chain()?;
        if !self.is_sign("=") && !self.is_sign(",") {
            let is_call = matches!(&first, Value::Chain(..)) && first.is_multiple();
            return is_call.then_some(Statement::Call(first));
        }
        let mut targets = vec![first];
        while self.accept(",")? {
            targets.push(self.chain()?);
        }
        self.expect("=")?;
        let values = self.values()?;
        for target in &targets {
            let is_target = match target {
                Value::Name(_) => true,
                Value::Chain(..) => !target.is_multiple(),
                _ => false,
            };
            if !is_target {
                return None;
            }
            self.assigned(target);
        }
        Some(Statement::Assign(targets, values))
    }

    fn assigned(&mut self, target: &Value<'a>) {
        if let Value::Name(Name::Local(id)) = target {
            let local = &mut self.locals[*id];
            local.assigned += 1;
            local.is_assigned_inside |= self.owners.last() != Some(&local.function);
        }
    }

    // --- values -------------------------------------------------------------------------------------

    fn values(&mut self) -> Option<Vec<Value<'a>>> {
        let mut values = vec![self.value()?];
        while self.accept(",")? {
            values.push(self.value()?);
        }
        Some(values)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        self.deeper(|parser| {
            let mut parts = vec![parser.operand()?];
            let mut is_concat = false;
            while let Some(operator) = parser.operator() {
                is_concat |= operator == "..";
                parser.advance()?;
                parts.push(parser.operand()?);
            }
            match parts.len() {
                1 => parts.pop(),
                _ => Some(Value::Operation(parts, is_concat)),
            }
        })
    }

    fn operator(&self) -> Option<&'static str> {
        const SIGNS: [&str; 13] = [
            "..", "==", "~=", "<=", ">=", "+", "-", "*", "/", "%", "^", "<", ">",
        ];
        const WORDS: [&str; 2] = ["and", "or"];
        SIGNS
            .into_iter()
            .find(|sign| self.is_sign(sign))
            .or_else(|| WORDS.into_iter().find(|word| self.is_word(word)))
    }

    /// A value with the operators before it.
    fn operand(&mut self) -> Option<Value<'a>> {
        let mut signs = 0;
        let mut is_length = false;
        while self.is_sign("-") || self.is_sign("#") || self.is_word("not") {
            is_length = self.is_sign("#");
            signs += 1;
            self.advance()?;
        }
        let value = self.simple()?;
        Some(match signs {
            0 => value,
            1 if is_length => Value::Length(Box::new(value)),
            _ => Value::Operation(vec![value], false),
        })
    }

    fn simple(&mut self) -> Option<Value<'a>> {
        let simple = match &self.token {
            Token::Number(number) => Value::Number(*number),
            Token::String(_) => {
                let Token::String(bytes) = self.advance()? else {
                    return None;
                };
                return Some(Value::String(bytes));
            }
            Token::Sign("...") => Value::Vararg,
            Token::Sign("{") => return self.table(),
            Token::Word(b"nil" | b"true" | b"false") => Value::Constant,
            Token::Word(b"function") => {
                self.advance()?;
                return Some(Value::Function(self.function_rest(false)?));
            }
            _ => return self.chain(),
        };
        self.advance()?;
        Some(simple)
    }

    fn table(&mut self) -> Option<Value<'a>> {
        self.advance()?;
        let mut entries = Vec::new();
        while !self.accept("}")? {
            entries.push(self.entry()?);
            if !self.accept(",")? && !self.accept(";")? {
                self.expect("}")?;
                break;
            }
        }
        Some(Value::Table(entries))
    }

    fn entry(&mut self) -> Option<(Option<Value<'a>>, Value<'a>)> {
        if self.accept("[")? {
            let key = self.value()?;
            self.expect("]")?;
            self.expect("=")?;
            return Some((Some(key), self.value()?));
        }
        let first = match self.token {
            Token::Word(word) => Some(word),
            _ => None,
        };
        let value = self.value()?;
        match (&value, first, self.is_sign("=")) {
            // Not a value, but the name of a field.
            (Value::Name(_), Some(name), true) => {
                self.advance()?;
                Some((Some(Value::String(Cow::Borrowed(name))), self.value()?))
            }
            (_, _, true) => None,
            (_, _, false) => Some((None, value)),
        }
    }

    /// A name or a value in parentheses, and what follows it.
    fn chain(&mut self) -> Option<Value<'a>> {
        let base = match self.accept("(")? {
            true => {
                let inner = self.value()?;
                self.expect(")")?;
                Value::Parentheses(Box::new(inner))
            }
            false => {
                let name = self.name()?;
                Value::Name(self.resolve(name))
            }
        };
        let mut links = Vec::new();
        while let Some(link) = self.link()? {
            links.push(link);
        }
        Some(match links.is_empty() {
            true => base,
            false => Value::Chain(Box::new(base), links),
        })
    }

    /// What follows a value, if something does.
    fn link(&mut self) -> Option<Option<Link<'a>>> {
        Some(Some(match &self.token {
            Token::Sign(".") => {
                self.advance()?;
                Link::Field(self.name()?)
            }
            Token::Sign("[") => {
                self.advance()?;
                let index = self.value()?;
                self.expect("]")?;
                Link::Index(index)
            }
            Token::Sign(":") => {
                self.advance()?;
                let name = self.name()?;
                Link::Method(name, self.arguments()??)
            }
            _ => match self.arguments()? {
                Some(values) => Link::Call(values),
                None => return Some(None),
            },
        }))
    }

    /// The arguments of a call, if there are any here.
    fn arguments(&mut self) -> Option<Option<Vec<Value<'a>>>> {
        match &self.token {
            Token::Sign("(") => {
                self.advance()?;
                if self.accept(")")? {
                    return Some(Some(Vec::new()));
                }
                let values = self.values()?;
                self.expect(")")?;
                Some(Some(values))
            }
            Token::Sign("{") => Some(Some(vec![self.deeper(Self::table)?])),
            Token::String(_) => Some(Some(vec![self.simple()?])),
            _ => Some(None),
        }
    }
}

fn is_keyword(word: &[u8]) -> bool {
    const KEYWORDS: [&str; 21] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in",
        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    KEYWORDS.iter().any(|keyword| keyword.as_bytes() == word)
}
