//! `torch.save` files of PyTorch 1.6 and later: a zip archive with a pickle of the structure and one
//! uncompressed file per storage.
//!
//! Of pickle's instructions only those are understood that data needs: no code of the file is ever run.
//! libtorch's own loader (`torch::jit::_load_parameters`) takes plain dictionaries alone, not the
//! `OrderedDict` that `model.state_dict()` returns.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::rc::Rc;

use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use super::file::{Entry, contiguous_strides};

/// What holds the parameters in a file of more than a state dict, as in torchvision's references.
const STATE_DICTS: [&str; 4] = ["model", "state_dict", "model_state_dict", "module"];
/// The largest structure that is read; the numbers are apart from it.
const LARGEST_PICKLE: u64 = 1 << 28;

/// The tensors of the file `bytes`, whose entries point into it.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<(String, Entry)>, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let mut files = HashMap::new();
    for index in 0..archive.len() {
        let file = archive
            .by_index_raw(index)
            .map_err(|error| error.to_string())?;
        // "NAME/data.pkl", "NAME/data/0", ...
        let Some((_, name)) = file.name().split_once('/') else {
            continue;
        };
        let start = file.data_start() as usize;
        let range = start..start.saturating_add(file.size() as usize);
        if file.compression() != CompressionMethod::Stored || bytes.get(range.clone()).is_none() {
            return Err(format!("{} is compressed or truncated", file.name()));
        }
        files.insert(name.to_owned(), range);
    }
    if files
        .get("byteorder")
        .is_some_and(|range| &bytes[range.clone()] == b"big")
    {
        return Err("its numbers are big-endian".into());
    }
    let pickle = match files.get("data.pkl") {
        Some(_) if files.contains_key("constants.pkl") => {
            return Err("it is a TorchScript archive, not a state dict".into());
        }
        Some(range) if range.len() as u64 > LARGEST_PICKLE => {
            return Err("its data.pkl is too large".into());
        }
        Some(range) => &bytes[range.clone()],
        None => return Err("a zip file without data.pkl is no PyTorch file".into()),
    };
    let dictionary = match Machine::new(pickle).run()? {
        Value::Dict(dictionary) => state_dict(&dictionary)?,
        _ => {
            return Err(
                "it holds a whole module or something else, not a state dict: save \
                        model.state_dict()"
                    .into(),
            );
        }
    };
    let mut found = vec![];
    for (key, value) in dictionary.borrow().iter() {
        if let (Value::Text(name), Value::Tensor(tensor)) = (key, value) {
            let entry = tensor
                .entry(&files)
                .map_err(|what| format!("{name} {what}"))?;
            found.push((name.to_string(), entry));
        }
    }
    Ok(found)
}

type Dict = Rc<RefCell<Vec<(Value, Value)>>>;

/// The dictionary of tensors: `top` itself, or under one of its usual keys.
fn state_dict(top: &Dict) -> Result<Dict, String> {
    let has_tensors = |dict: &Dict| {
        let values = dict.borrow();
        values
            .iter()
            .any(|(_, value)| matches!(value, Value::Tensor(_)))
    };
    if has_tensors(top) {
        return Ok(top.clone());
    }
    let entries = top.borrow();
    for wanted in STATE_DICTS {
        for (key, value) in entries.iter() {
            if let (Value::Text(key), Value::Dict(inner)) = (key, value)
                && **key == *wanted
                && has_tensors(inner)
            {
                return Ok(inner.clone());
            }
        }
    }
    let keys: Vec<&str> = entries
        .iter()
        .filter_map(|(key, _)| match key {
            Value::Text(key) => Some(&**key),
            _ => None,
        })
        .take(8)
        .collect();
    Err(format!(
        "it is no dictionary of tensors and has none under {}; its keys are {keys:?}",
        STATE_DICTS.map(|key| format!("{key:?}")).join(", ")
    ))
}

/// A tensor as the pickle describes it, in elements.
#[derive(Clone)]
struct Stored {
    kind: Kind,
    key: Rc<str>,
    offset: i64,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

impl Stored {
    /// Its bytes, from the first element to the last.
    fn entry(&self, files: &HashMap<String, Range<usize>>) -> Result<Entry, String> {
        let storage = files
            .get(&format!("data/{}", self.key))
            .ok_or("has no storage in the file")?;
        let size = self.kind.elt_size_in_bytes();
        let beyond = || "lies outside its storage".to_owned();
        if self.shape.len() != self.strides.len()
            || self.offset < 0
            || self.shape.iter().chain(&self.strides).any(|&n| n < 0)
        {
            return Err(beyond());
        }
        let empty = self.shape.contains(&0);
        let mut last = Some(0i64);
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.and_then(|last| (n - 1).max(0).checked_mul(stride)?.checked_add(last));
        }
        let elements = if empty {
            0
        } else {
            last.ok_or_else(beyond)?.saturating_add(1)
        };
        let bytes = |elements: i64| usize::try_from(elements).ok()?.checked_mul(size);
        let start = bytes(self.offset).and_then(|n| n.checked_add(storage.start));
        let end = start.and_then(|start| start.checked_add(bytes(elements)?));
        match (start, end) {
            (Some(start), Some(end)) if end <= storage.end => Ok(Entry {
                kind: self.kind,
                strides: (self.strides != contiguous_strides(&self.shape))
                    .then(|| self.strides.clone()),
                shape: self.shape.clone(),
                range: start..end,
            }),
            _ => Err(beyond()),
        }
    }
}

/// What the stack holds.
#[derive(Clone)]
enum Value {
    Mark,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>),
    Dict(Dict),
    Global(Rc<str>),
    Storage(Kind, Rc<str>),
    Tensor(Rc<Stored>),
    /// None, floats, lists, sets, optimizers' states and objects of any other class.
    Other,
}

impl Value {
    fn numbers(&self) -> Option<Vec<i64>> {
        let Value::Tuple(items) = self else {
            return None;
        };
        items
            .iter()
            .map(|item| match item {
                Value::Number(number) => Some(*number),
                _ => None,
            })
            .collect()
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    fn new(pickle: &'a [u8]) -> Self {
        Self {
            rest: pickle,
            stack: vec![],
            memo: HashMap::new(),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("its data.pkl is truncated")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn long(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self, length: usize) -> Result<Rc<str>, String> {
        let text = std::str::from_utf8(self.take(length)?);
        text.map(Rc::from)
            .map_err(|_| "a name in its data.pkl is no UTF-8".into())
    }

    fn line(&mut self) -> Result<Rc<str>, String> {
        let length = self.rest.iter().position(|&byte| byte == b'\n');
        let text = self.text(length.unwrap_or(self.rest.len()))?;
        self.take(1)?;
        Ok(text)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack
            .pop()
            .ok_or_else(|| "its data.pkl is damaged".into())
    }

    /// What was pushed since the last mark.
    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self
            .stack
            .iter()
            .rposition(|value| matches!(value, Value::Mark))
            .ok_or("its data.pkl is damaged")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, count: usize) -> Result<Value, String> {
        let start = self
            .stack
            .len()
            .checked_sub(count)
            .ok_or("its data.pkl is damaged")?;
        Ok(Value::Tuple(self.stack.split_off(start).into()))
    }

    fn put(&mut self, place: u32) {
        if let Some(top) = self.stack.last() {
            self.memo.insert(place, top.clone());
        }
    }

    fn set_items(&mut self, items: Vec<Value>) {
        if let Some(Value::Dict(dict)) = self.stack.last() {
            let mut pairs = items.into_iter();
            while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                dict.borrow_mut().push((key, value));
            }
        }
    }

    /// Runs the pickle (protocols 2 to 5) to its end.
    fn run(mut self) -> Result<Value, String> {
        loop {
            let value = match self.byte()? {
                b'.' => return self.pop(),
                0x80 => {
                    self.byte()?;
                    continue;
                }
                0x95 => {
                    self.take(8)?;
                    continue;
                }
                b'q' => {
                    let place = self.byte()?;
                    self.put(u32::from(place));
                    continue;
                }
                b'r' => {
                    let place = self.long()?;
                    self.put(place);
                    continue;
                }
                0x94 => {
                    self.put(self.memo.len() as u32);
                    continue;
                }
                b'0' => {
                    self.pop()?;
                    continue;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(items);
                    continue;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value]);
                    continue;
                }
                // Appended items and objects' states: nothing that is looked at.
                b'e' | 0x90 => {
                    self.since_mark()?;
                    continue;
                }
                b'a' | b'b' => {
                    self.pop()?;
                    continue;
                }
                b'h' => {
                    let place = u32::from(self.byte()?);
                    self.recall(place)?
                }
                b'j' => {
                    let place = self.long()?;
                    self.recall(place)?
                }
                b'(' => Value::Mark,
                b'}' => Value::Dict(Dict::default()),
                b']' | 0x8f | b'N' => Value::Other,
                b')' => Value::Tuple(Rc::from([])),
                b't' => Value::Tuple(self.since_mark()?.into()),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                0x88 => Value::Number(1),
                0x89 => Value::Number(0),
                b'K' => Value::Number(self.byte()?.into()),
                b'M' => {
                    let bytes = self.take(2)?;
                    Value::Number(u16::from_le_bytes([bytes[0], bytes[1]]).into())
                }
                b'J' => Value::Number(i64::from(self.long()? as i32)),
                0x8a => {
                    let length = usize::from(self.byte()?);
                    let mut number = [0; 8];
                    match number.get_mut(..length) {
                        Some(number) => number.copy_from_slice(self.take(length)?),
                        None => {
                            self.take(length)?;
                        }
                    }
                    // Negative numbers are neither sizes nor offsets.
                    Value::Number(i64::from_le_bytes(number))
                }
                b'G' => {
                    self.take(8)?;
                    Value::Other
                }
                b'X' => {
                    let length = self.long()? as usize;
                    Value::Text(self.text(length)?)
                }
                0x8c => {
                    let length = usize::from(self.byte()?);
                    Value::Text(self.text(length)?)
                }
                b'U' | b'C' => {
                    let length = usize::from(self.byte()?);
                    self.take(length)?;
                    Value::Other
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    Value::Global(format!("{module}.{name}").into())
                }
                0x93 => match (self.pop()?, self.pop()?) {
                    (Value::Text(name), Value::Text(module)) => {
                        Value::Global(format!("{module}.{name}").into())
                    }
                    _ => return Err("its data.pkl is damaged".into()),
                },
                b'Q' => storage(&self.pop()?)?,
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    made(&callable, &arguments)?
                }
                other => {
                    return Err(format!(
                        "its data.pkl has the instruction {other:#04x}, which state dicts do not need"
                    ));
                }
            };
            self.stack.push(value);
        }
    }

    fn recall(&self, place: u32) -> Result<Value, String> {
        let value = self.memo.get(&place).cloned();
        value.ok_or_else(|| "its data.pkl is damaged".into())
    }
}

/// `("storage", torch.FloatStorage, "0", "cpu", 108)`.
fn storage(id: &Value) -> Result<Value, String> {
    if let Value::Tuple(items) = id
        && let [
            Value::Text(what),
            Value::Global(class),
            Value::Text(key),
            ..,
        ] = &**items
        && &**what == "storage"
    {
        let kind = match class.strip_prefix("torch.").unwrap_or(class) {
            "FloatStorage" => Kind::Float,
            "HalfStorage" => Kind::Half,
            "BFloat16Storage" => Kind::BFloat16,
            "DoubleStorage" => Kind::Double,
            "LongStorage" => Kind::Int64,
            "IntStorage" => Kind::Int,
            "ShortStorage" => Kind::Int16,
            "CharStorage" => Kind::Int8,
            "ByteStorage" => Kind::Uint8,
            "BoolStorage" => Kind::Bool,
            other => {
                return Err(format!(
                    "it has a {other}, whose numbers are not understood"
                ));
            }
        };
        return Ok(Value::Storage(kind, key.clone()));
    }
    Err("its data.pkl names a storage in an unknown way".into())
}

/// What `callable(*arguments)` stands for.
fn made(callable: &Value, arguments: &Value) -> Result<Value, String> {
    let (Value::Global(name), Value::Tuple(items)) = (callable, arguments) else {
        return Ok(Value::Other);
    };
    match (&**name, &**items) {
        ("collections.OrderedDict", []) => Ok(Value::Dict(Dict::default())),
        ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
        (
            "torch._utils._rebuild_tensor_v2",
            [
                Value::Storage(kind, key),
                Value::Number(offset),
                shape,
                strides,
                ..,
            ],
        ) => match (shape.numbers(), strides.numbers()) {
            (Some(shape), Some(strides)) => Ok(Value::Tensor(Rc::new(Stored {
                kind: *kind,
                key: key.clone(),
                offset: *offset,
                shape,
                strides,
            }))),
            _ => Err("its data.pkl describes a tensor in an unknown way".into()),
        },
        _ => Ok(Value::Other),
    }
}
