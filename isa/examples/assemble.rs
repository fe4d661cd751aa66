//! Assembles a program's text, verifies it, prints its instructions and the machine it is for.
//!
//! `cargo run --package scnn-isa --example assemble compiler/fuzz/corpus/assembly/conv.s`

use scnn_isa::asm::{assemble, disassemble_range};
use scnn_isa::plane::Span;
use scnn_isa::verify::verify;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give an assembly text")?;
    let text = std::fs::read_to_string(path)?;
    let program = assemble(&text)?;
    if let Err(problems) = verify(&program) {
        for problem in problems {
            eprintln!("{}: {}", problem.place, problem.message);
        }
        return Err("the program is not valid".into());
    }
    let machine = &program.machine;
    println!("{}: {} PEs", machine.name, machine.pe_count());
    let code = Span::new(0, program.code.len() as u32);
    print!("{}", disassemble_range(&program, code));
    Ok(())
}
