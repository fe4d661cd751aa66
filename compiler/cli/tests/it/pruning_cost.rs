//! Costs of a network while its weights are pruned: those that the mapper predicted where nothing is, and a function of what is
//! given, whatever was asked before. The comparison with exact runs is the Python module's.

use crate::mapping::kept;
use scnn_isa::machine::Machine;
use scnnc::compile::{Compiled, Options, compile_imported};
use scnnc::import::{ImportOptions, import};
use scnnc::pruning_cost::{CostError, Elements, GivenWeights, Next, Originals, Part, PruningCost};
use scnnc::quantise::Operation;

fn costs(model: &str, preset: &str) -> (PruningCost, Vec<(String, u64)>) {
    let imported = import(&kept(model), &ImportOptions::default()).unwrap();
    let originals = Originals::of(&imported);
    let options = Options::new(Machine::preset(preset).unwrap());
    let compiled = compile_imported(imported, &options, &mut ()).unwrap();
    let predicted = predicted(&compiled);
    (PruningCost::new(originals, compiled).unwrap(), predicted)
}

fn name_of(operation: &Operation) -> String {
    match operation {
        Operation::Layer(layer) => layer.name.clone(),
        Operation::Host(host) => host.name.clone(),
    }
}

fn predicted(compiled: &Compiled) -> Vec<(String, u64)> {
    let layers = compiled
        .network
        .operations
        .iter()
        .zip(&compiled.mapped.predicted);
    let layers = layers.filter_map(|(operation, cost)| Some((name_of(operation), (*cost)?.cycles)));
    layers.collect()
}

#[test]
fn what_is_not_pruned_costs_what_the_mapper_predicted() {
    for preset in ["scnn", "scnn-16pe", "scnn-sparse-a"] {
        for model in ["tiny.onnx", "lenet5.onnx"] {
            let (mut costs, predicted) = costs(model, preset);
            assert!(costs.left_out().is_empty());
            let found = costs.cost(&[]).unwrap().into_iter();
            let found: Vec<(String, u64)> = found.map(|(name, cost)| (name, cost.cycles)).collect();
            assert_eq!(found, predicted, "{model} on {preset}");
        }
    }
}

#[test]
fn a_cost_depends_on_what_is_given_alone() {
    let (mut costs, _) = costs("lenet5.onnx", "scnn");
    let tensors: Vec<_> = costs.tensors().cloned().collect();
    // Every mask, one after the other and after the marginal value of all, and in the reverse order.
    let masks: Vec<Vec<bool>> = (2..6)
        .zip(&tensors)
        .map(|(every, tensor)| {
            let count = tensor.shape.iter().product();
            (0..count)
                .map(|at: usize| !at.is_multiple_of(every))
                .collect()
        })
        .collect();
    let given = |number: usize| {
        [GivenWeights {
            name: &tensors[number].name,
            shape: &tensors[number].shape,
            elements: Elements::Mask(&masks[number]),
        }]
    };
    let part = Part {
        share: 0.1,
        next: Next::Random(3),
    };
    let mut first = Vec::new();
    for number in 0..tensors.len() {
        first.push(costs.cost(&given(number)).unwrap());
        costs.marginal(&given(number), part).unwrap();
    }
    for number in (0..tensors.len()).rev() {
        assert_eq!(costs.cost(&given(number)).unwrap(), first[number]);
        assert!(number == 0 || first[number] != first[number - 1]);
    }
    let none = Part { share: 0.0, ..part };
    assert_eq!(costs.marginal(&[], none), Err(CostError::Part(0.0)));
}
