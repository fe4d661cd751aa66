//! Objectives of the mapping search: one table, from which the command line, sweeps, reports and `advise` take them.

use super::cost::Cost;

/// Calls for every objective, the default one first: `/// Meaning.` `Variant "name" [searched] |time, energy| score`.
///
/// `searched` are the objectives whose mappings are found and then compared by this one, itself first. Tensors choose alone at
/// first, without their traffic, which misses mappings that make a network's energy small, and those that make it fast where
/// traffic takes much of the time. For cycles, for which most people wait, the others are searched where there is something to
/// expect ([`super::search`]).
macro_rules! objectives {
    ($(
        #[doc = $meaning:literal]
        $objective:ident $name:literal [$($searched:ident)+] |$time:ident, $energy:ident| $score:expr;
    )*) => {
        /// What the search minimises.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Objective {
            $(#[doc = $meaning] $objective,)*
        }

        impl Objective {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$objective),*];

            /// Name on the command line and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$objective => $name,)* }
            }

            /// Its meaning, in a few words.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$objective => $meaning,)* }.trim().trim_end_matches('.')
            }

            /// The objectives whose mappings are found and compared by this one, itself first.
            pub const fn searched(self) -> &'static [Self] {
                match self { $(Self::$objective => &[$(Self::$searched),+],)* }
            }

            /// The number that is minimised, of a time and an energy.
            #[allow(unused_variables)] // Not every objective asks for both.
            pub fn of(self, time: f64, energy: f64) -> f64 {
                match self { $(Self::$objective => { let ($time, $energy) = (time, energy); $score })* }
            }
        }
    };
}

objectives! {
    /// Cycles.
    Cycles "cycles" [Cycles EnergyDelay Energy] |time, energy| time;
    /// Energy.
    Energy "energy" [Energy EnergyDelay Cycles] |time, energy| energy;
    /// Energy times cycles.
    EnergyDelay "edp" [EnergyDelay Cycles Energy] |time, energy| time * energy;
}

impl Default for Objective {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl Objective {
    /// The objective of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|objective| objective.name() == name)
    }

    /// The number that is minimised.
    pub fn score(self, cost: &Cost) -> f64 {
        self.of(cost.cycles as f64, cost.energy_pj)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_searched_first_by_itself_and_found_by_its_name() {
        for objective in Objective::ALL {
            assert_eq!(objective.searched()[0], objective);
            assert_eq!(Objective::named(objective.name()), Some(objective));
        }
        assert_eq!(Objective::default(), Objective::Cycles);
    }

    #[test]
    fn each_objective_prefers_what_it_is_named_after() {
        let scores = |time, energy| Objective::ALL.map(|objective| objective.of(time, energy));
        assert_eq!(scores(2.0, 5.0), [2.0, 5.0, 10.0]);
    }
}
