//! What tract computes otherwise than ONNX says, and against what each host operator is verified.

use tract_onnx::pb::NodeProto;

/// What tract computes wrongly of a node, if it does.
pub(super) fn wrong_in_tract(_node: &NodeProto, _opset: i64) -> Option<&'static str> {
    None
}
