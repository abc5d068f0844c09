//! Questions as lines of stdin, answers as lines of JSON on stdout.
//!
//! Every line is answered by one line, in order, also one that is too long or makes no sense; the answers are written out
//! whenever no whole line is left to read, so that a program can ask and wait.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use serde_json::Value;

use super::exit::{Exit, Failure};

/// Answers every line of stdin; one of more than `most` bytes is not read, and answered by what is wrong with it.
///
/// # Errors
/// When stdin cannot be read or stdout cannot be written to.
pub fn answer(most: usize, mut answer: impl FnMut(Result<&[u8], String>) -> Value) -> Result<Exit, Failure> {
    let internal = |error: std::io::Error| Failure::internal(error.into());
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(most as u64).read_until(b'\n', &mut line).map_err(internal)? == 0 {
            break;
        }
        let answered = if line.len() == most && !line.ends_with(b"\n") {
            skip_line(&mut input).map_err(internal)?;
            answer(Err(format!("a line has at most {most} bytes")))
        } else {
            answer(Ok(&line))
        };
        let written = writeln!(output, "{answered}")
            .and_then(|()| if input.buffer().contains(&b'\n') { Ok(()) } else { output.flush() });
        match written {
            // A reader that went away has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Done),
            written => written.map_err(internal)?,
        }
    }
    output.flush().map_err(internal)?;
    Ok(Exit::Done)
}

/// Reads on to the end of a line without keeping it.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (read, is_over) = (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
        input.consume(read);
        if is_over {
            return Ok(());
        }
    }
}
