use super::*;
use proptest::prelude::*;

#[test]
fn every_preset_is_a_machine_and_writes_itself() {
    for (name, _) in Machine::presets() {
        let machine = Machine::preset(name).unwrap();
        assert_eq!(machine.name, name);
        assert_eq!(Machine::from_yaml(&machine.to_yaml()).unwrap(), machine);
    }
}

#[test]
fn the_machine_of_the_paper_has_its_numbers() {
    let machine = Machine::preset("scnn").unwrap();
    assert_eq!(machine.pe_count() * machine.multipliers_per_pe(), 1024);
    assert_eq!(machine.accumulator_entries(), 1024);
    assert_eq!(machine.ram_elements(Memory::A), 4096);
    assert_eq!(machine.fifo_elements(), 200);
    assert_eq!(machine.weight_format().element_bits(), 20);
}

#[test]
fn granularity_presets_keep_the_totals() {
    let total = |name| {
        let machine = Machine::preset(name).unwrap();
        let pes = machine.pe_count();
        [
            pes * machine.multipliers_per_pe(),
            pes * machine.accumulator_entries(),
            pes * machine.activation_ram.a_bytes,
        ]
    };
    assert_eq!(total("scnn"), total("scnn-16pe"));
    assert_eq!(total("scnn"), total("scnn-4pe"));
}

#[test]
fn an_unknown_key_names_the_nearest_and_its_line() {
    let error = Machine::from_yaml("extends: scnn\npe:\n  banks: 16\n  entries_per_banks: 64\n")
        .unwrap_err();
    assert_eq!(error.place(), Some((4, 3)));
    assert_eq!(
        error.help().as_deref(),
        Some("did you mean `entries_per_bank`?")
    );
}

#[test]
fn a_value_out_of_range_names_the_range_and_its_line() {
    let error = Machine::from_yaml("extends: scnn\narray:\n  rows: 4\n  cols: 0\n").unwrap_err();
    assert_eq!(error.place(), Some((4, 9)));
    assert!(
        error
            .to_string()
            .contains("0 where a whole number from 1 to 64 is expected"),
        "{error}"
    );
}

#[test]
fn a_wrong_word_names_the_words_there_are() {
    let error = Machine::from_yaml("extends: scnn\nsync: {drift: none}\n").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`none` where group or fifo is expected"),
        "{error}"
    );
}

#[test]
fn a_file_without_extends_must_state_everything() {
    let error = Machine::from_yaml("name: mine\n").unwrap_err();
    assert!(
        matches!(&error, MachineError::Missing { paths } if paths.contains(&"array.rows")),
        "{error}"
    );
}

#[test]
fn a_parameter_younger_than_a_file_has_the_value_from_before_it() {
    let mut machine = Machine::preset("scnn").unwrap();
    let before = machine.to_yaml();
    assert!(!before.contains("layers:"), "{before}");
    assert_eq!(Machine::from_yaml(&before).unwrap(), machine);
    machine.sync.layers = LayerSync::Overlap;
    let after = machine.to_yaml();
    assert!(after.contains("layers: overlap"), "{after}");
    assert_eq!(Machine::from_yaml(&after).unwrap(), machine);
}

#[test]
fn an_unknown_preset_names_the_nearest() {
    let error = Machine::from_yaml("extends: snn\n").unwrap_err();
    assert_eq!(error.help().as_deref(), Some("did you mean `scnn`?"));
}

#[test]
fn the_xor_map_needs_a_power_of_two() {
    let error = Machine::from_yaml("extends: scnn\npe: {bank_map: xor, banks: 33}\n").unwrap_err();
    assert!(
        matches!(
            error,
            MachineError::Impossible {
                path: "pe.bank_map",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_origin_of_a_parameter_is_known() {
    let read = Machine::read("extends: scnn\narray: {rows: 4}\n").unwrap();
    assert_eq!(read.origin("array.rows"), Origin::File);
    assert_eq!(read.origin("array.cols"), Origin::Preset("scnn".into()));
}

#[test]
fn settings_are_checked_as_a_file_is_and_named() {
    let scnn = || Machine::read("extends: scnn\nname: mine\n").unwrap();
    let set = |words: &[&str]| scnn().with_settings(words);
    let read = set(&["pe.banks=64", "array.rows=4", "pe.banks=16"]).unwrap();
    assert_eq!((read.machine.array.rows, read.machine.pe.banks), (4, 16));
    assert_eq!(read.machine.name, "mine+array.rows=4+pe.banks=16");
    assert_eq!(read.origin("pe.banks"), Origin::Setting);
    assert_eq!(read.origin("pe.queue_depth"), Origin::Preset("scnn".into()));

    let error = |word: &str| set(&[word]).unwrap_err();
    let helps = |word: &str, help: &str| assert_eq!(error(word).help().as_deref(), Some(help));
    helps("pe.bnaks=64", "did you mean `pe.banks`?");
    helps("weights.banks=64", "did you mean `pe.banks`?");
    helps(
        "pe.banks",
        "give a parameter and its value, as in `pe.banks=64`",
    );
    helps(
        "array.rows=0",
        "`array.rows` is a whole number from 1 to 64",
    );
    for word in [
        "pe.banks=",
        "pe.banks=2\n  rows: 3",
        "pe.bank_map=none",
        "dram.gigabytes_per_second=fast",
    ] {
        assert!(
            matches!(error(word), MachineError::OutOfRange(_)),
            "{word}: {}",
            error(word)
        );
    }
    let impossible = set(&["pe.banks=33", "pe.bank_map=xor"]).unwrap_err();
    assert!(
        matches!(impossible, MachineError::Impossible { .. }),
        "{impossible}"
    );
}

#[test]
fn a_price_is_set_with_or_without_its_source() {
    let read = Machine::read("extends: scnn\n").unwrap();
    let read = read.with_settings(&[
        "energy.dram_bit=4.5",
        "area.other={mm2: 0.5, source: a guess}",
    ]);
    let machine = read.unwrap().machine;
    assert_eq!(
        (
            machine.energy.dram_bit.pj,
            machine.energy.dram_bit.source.as_str()
        ),
        (4.5, "a setting")
    );
    assert_eq!(
        (machine.area.other.mm2, machine.area.other.source.as_str()),
        (0.5, "a guess")
    );
    let negative = Machine::read("extends: scnn\n")
        .unwrap()
        .with_settings(&["energy.dram_bit=-1"]);
    assert!(matches!(negative, Err(MachineError::OutOfRange(_))));
}

#[test]
fn a_parameter_that_a_base_states_comes_from_the_base() {
    let base = Machine::read("extends: scnn\narray: {rows: 4}\n").unwrap();
    let file = MachineFile::parse("extends: base.yaml\narray: {cols: 2}\n").unwrap();
    let read = file.complete(Some(&base)).unwrap();
    assert_eq!(read.origin("array.cols"), Origin::File);
    assert_eq!(read.origin("array.rows"), Origin::Base("base.yaml".into()));
    assert_eq!(read.origin("pe.banks"), Origin::Preset("scnn".into()));
    assert!(!read.named);
}

#[test]
fn a_program_depends_on_the_array_and_not_on_what_only_costs() {
    let ours = Machine::preset("scnn").unwrap();
    let mut theirs = ours.clone();
    theirs.energy.multiply.pj = 1.0;
    theirs.dram.gigabytes_per_second = 1.0;
    theirs.weights.fifo_vectors = 1;
    theirs.pe.weights_per_vector = 2;
    assert!(ours.fingerprint_differences(&theirs).is_empty());
    theirs.array.rows = 4;
    let differences = ours.fingerprint_differences(&theirs);
    assert_eq!(
        differences,
        [Difference {
            path: "array.rows".into(),
            program: "8".into(),
            machine: "4".into()
        }]
    );
}

/// What independent sources say, scaled to 16 nm, is good to a factor of two; where they give a range, to the range.
/// Calibration chooses inside the band; a value outside of it would be an invention.
#[test]
fn calibrated_energies_stay_within_the_band_of_their_sources() {
    let twice = |pj: f64| (pj / 2.0, pj * 2.0);
    let energy = Machine::preset("scnn").unwrap().energy;
    let bands = [
        (&energy.multiply, twice(0.12)),
        (&energy.add, twice(0.011)),
        (&energy.accumulate, twice(0.15)),
        (&energy.crossbar_transfer, (0.2, 0.4)),
        (&energy.coordinate, (0.02, 0.05)),
        (&energy.fifo_read_vector, twice(0.25)),
        (&energy.fifo_write_vector, twice(0.45)),
        (&energy.iaram_read_vector, twice(1.1)),
        (&energy.oaram_write_vector, twice(1.2)),
        (&energy.dram_bit, (8.0, 20.0)),
        (&energy.dense_operand_vector_read, twice(2.2)),
        (&energy.dense_add, twice(0.011)),
        (&energy.dense_sram_write_vector, twice(1.8)),
    ];
    for (entry, (low, high)) in bands {
        assert!(
            (low..=high).contains(&entry.pj),
            "{entry:?} is not within {low} to {high}"
        );
    }
}

proptest! {
    #[test]
    fn a_machine_survives_its_file(rows in 1u32..=64, banks in 1u32..=4096, ram in 64u32..100_000, rate in 0.01f64..1e5) {
        let mut machine = Machine::preset("scnn").unwrap();
        machine.array.rows = rows;
        machine.pe.banks = banks;
        machine.activation_ram.a_bytes = ram;
        machine.dram.gigabytes_per_second = rate;
        let machine = machine.with_energies();
        prop_assert_eq!(Machine::from_yaml(&machine.to_yaml()).unwrap(), machine);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Machine::from_yaml(&text);
    }
}
