//! The codes of problems with samples, and of results that are not what they should be.

scnn_isa::codes! {
    LabelCount "E0113" "the labels do not fit the samples" "Every image of every sample needs one label: a batch of 8 images takes 8. The message has both numbers." remedy "give one label for each image of the samples, in their order";
    NotBitExact "E0801" "the result is not exact to the bit" "The simulator and the integer interpreter disagree: a bug of scnnc. The message names the first tensor.";
    NotAsExpected "E0802" "the result is not as expected" "An output differs from the expected one by more than the tolerance.";
}
