//! MATLAB files of version 5 to 7, as `save` writes them without `-v7.3`.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::ZlibDecoder;
use matrw::{MatFile, MatVariable, MatlabType, load_matfile_from_u8};

use super::AnnotationError;
use crate::foreign;

/// Most bytes that a file may have without compression: a person's marks of a day of video, for 20 people.
const LARGEST: u64 = 4 << 30;

/// The variables of a file.
pub struct Variables {
    path: PathBuf,
    file: MatFile,
}

/// Numbers in columns of `rows` each.
pub struct Matrix {
    pub rows: usize,
    /// Column after column.
    pub values: Vec<f64>,
}

impl Matrix {
    /// One column after the other.
    pub fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.rows.max(1))
    }
}

impl Variables {
    pub fn load(path: &Path) -> Result<Self, AnnotationError> {
        let format = |reason: String| AnnotationError::Format {
            path: path.into(),
            expected: "a MATLAB file of version 5 to 7",
            reason,
        };
        let bytes = std::fs::read(path).map_err(|source| AnnotationError::Read { path: path.into(), source })?;
        if bytes.starts_with(b"MATLAB 7.3") {
            return Err(format("it is version 7.3; save it again with -v7".into()));
        }
        if !bytes.starts_with(b"MATLAB 5.0") {
            return Err(format("it does not begin as one".into()));
        }
        let damaged = |reason: String| format(format!("it is damaged, fetch it again ({reason})"));
        let bytes = inflated(&bytes).ok_or_else(|| damaged("it ends early".into()))?;
        let file = foreign::read(|| load_matfile_from_u8(&bytes)).map_err(damaged)?;
        let file = file.map_err(|e| damaged(e.to_string()))?;
        Ok(Self { path: path.into(), file })
    }

    /// A variable of numbers.
    pub fn matrix(&self, variable: &str) -> Result<Matrix, AnnotationError> {
        let found = foreign::read(|| matrix(&self.file[variable])).ok().flatten();
        found.ok_or_else(|| self.missing("matrix", variable))
    }

    /// A variable that is a cell array of numbers.
    pub fn cells(&self, variable: &str) -> Result<Vec<Matrix>, AnnotationError> {
        let cells = foreign::read(|| match &self.file[variable] {
            MatVariable::CellArray(cells) => cells.value.iter().map(matrix).collect(),
            _ => None,
        });
        cells.ok().flatten().ok_or_else(|| self.missing("cell array", variable))
    }

    fn missing(&self, kind: &'static str, variable: &str) -> AnnotationError {
        AnnotationError::Variable { path: self.path.clone(), kind, variable: variable.into() }
    }
}

/// The same file without compression: a header of 128 bytes, then elements, each its type and size in four bytes and its content.
///
/// What is compressed is read as far as it goes. MATLAB does not always end it as it should ("Bike Polo" of SumMe), and the reader of the
/// variables does not stand that.
fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    const COMPRESSED: u32 = 15;
    let number = if bytes.get(126..128)? == b"MI" { u32::from_be_bytes } else { u32::from_le_bytes };
    let (header, mut rest) = bytes.split_at(128.min(bytes.len()));
    let mut inflated = header.to_vec();
    while !rest.is_empty() {
        let kind = number(rest.first_chunk().copied()?);
        let size = number(rest.get(4..)?.first_chunk().copied()?) as usize;
        let (element, after) = rest.split_at_checked(size.checked_add(8)?)?;
        if inflated.len() as u64 > LARGEST {
            return None;
        }
        if kind == COMPRESSED {
            let mut content = Vec::new();
            // What came before the failure is kept.
            let _ = ZlibDecoder::new(&element[8..]).take(LARGEST).read_to_end(&mut content);
            inflated.extend(content);
        } else {
            inflated.extend(element);
        }
        rest = after;
    }
    Some(inflated)
}

fn matrix(variable: &MatVariable) -> Option<Matrix> {
    let MatVariable::NumericArray(_) = variable else { return None };
    let values = match variable.numeric_type()? {
        MatlabType::U8(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::I8(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::U16(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::I16(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::U32(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::I32(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::U64(values) => values.iter().map(|&value| value as f64).collect(),
        MatlabType::I64(values) => values.iter().map(|&value| value as f64).collect(),
        MatlabType::F32(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::F64(values) => values.clone(),
        MatlabType::BOOL(values) => values.iter().copied().map(f64::from).collect(),
        MatlabType::UTF8(_) | MatlabType::UTF16(_) => return None,
    };
    let size = variable.dim();
    let whole = size.iter().try_fold(1usize, |all, side| all.checked_mul(*side)) == Some(values.len());
    size.first().filter(|_| whole).map(|&rows| Matrix { rows, values })
}
