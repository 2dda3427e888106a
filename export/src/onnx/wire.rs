//! What a protobuf message would take in memory, counted on its bytes before it is decoded.
//!
//! A record of two bytes becomes a structure of hundreds, a packed integer of one byte becomes eight: without a count, a file
//! within its limit could ask for a hundred times its size. Only lengths are looked at here; the decoder says what is malformed.

use crate::limits::{LimitError, Limits, at_most};
use tract_onnx::pb;

/// Messages that hold others or lists.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Training,
    Function,
    Annotation,
    /// Nothing of interest inside.
    Leaf,
}

/// What a field's bytes are.
enum Field {
    Message(Message, usize),
    /// One of a list of strings.
    Text,
    /// Packed integers of this size in memory, or one integer.
    Integers(usize),
    Plain,
}

impl Message {
    fn field(self, number: u64) -> Field {
        use Field::{Integers, Plain, Text};
        use Message as M;
        let node = || Field::Message(M::Node, size_of::<pb::NodeProto>());
        let graph = || Field::Message(M::Graph, size_of::<pb::GraphProto>());
        let tensor = || Field::Message(M::Tensor, size_of::<pb::TensorProto>());
        let sparse = || Field::Message(M::Sparse, size_of::<pb::SparseTensorProto>());
        let attribute = || Field::Message(M::Attribute, size_of::<pb::AttributeProto>());
        let ty = || Field::Message(M::Type, size_of::<pb::TypeProto>());
        let leaf = || Field::Message(M::Leaf, size_of::<pb::StringStringEntryProto>());
        match (self, number) {
            (M::Model, 7) | (M::Training, 1 | 2) | (M::Attribute, 6 | 11) => graph(),
            (M::Model, 8) | (M::Function, 9) => leaf(),
            (M::Model, 14) | (M::Training, 3 | 4) | (M::Tensor, 3 | 13) => leaf(),
            (M::Model, 20) => Field::Message(M::Training, size_of::<pb::TrainingInfoProto>()),
            (M::Model, 25) => Field::Message(M::Function, size_of::<pb::FunctionProto>()),
            (M::Graph, 1) | (M::Function, 7) => node(),
            (M::Graph, 5) | (M::Attribute, 5 | 10) | (M::Sparse, 1 | 2) => tensor(),
            (M::Graph, 15) | (M::Attribute, 22 | 23) => sparse(),
            (M::Graph, 11..=13) => Field::Message(M::ValueInfo, size_of::<pb::ValueInfoProto>()),
            (M::Graph, 14) => Field::Message(M::Annotation, size_of::<pb::TensorAnnotation>()),
            (M::Annotation, 2) => leaf(),
            (M::Node, 5) => attribute(),
            (M::Attribute, 14 | 15) | (M::ValueInfo, 2) => ty(),
            (M::Type, 1) => Field::Message(M::TensorType, 0),
            (M::TensorType, 2) => Field::Message(M::Shape, 0),
            (M::Shape, 1) => {
                Field::Message(M::Leaf, size_of::<pb::tensor_shape_proto::Dimension>())
            }
            (M::Node, 1 | 2) | (M::Function, 4..=6) | (M::Attribute, 9) | (M::Tensor, 6) => Text,
            (M::Attribute, 8) | (M::Tensor, 1 | 7 | 11) | (M::Sparse, 3) => Integers(8),
            (M::Tensor, 5) => Integers(4),
            _ => Plain,
        }
    }
}

/// Lists double when they are full.
const GROWTH: u64 = 2;

struct Count<'a> {
    limits: &'a Limits,
    bytes: u64,
    nodes: u64,
}

/// Refuses a message that nests deeper, has more nodes or would take more memory than the limits allow.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<(), LimitError> {
    let mut count = Count {
        limits,
        bytes: 0,
        nodes: 0,
    };
    count.message(bytes, Message::Model, 1)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes the bytes of a field of this wire type; integers have none.
fn contents<'a>(bytes: &mut &'a [u8], wire_type: u64) -> Option<&'a [u8]> {
    let len = match wire_type {
        0 => {
            varint(bytes)?;
            0
        }
        1 => 8,
        2 => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        // Groups are not used, and the decoder refuses or skips them.
        _ => return None,
    };
    let (field, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(field)
}

impl Count<'_> {
    /// Ends quietly at what is malformed.
    fn message(&mut self, mut bytes: &[u8], kind: Message, depth: u64) -> Result<(), LimitError> {
        let model = || "the model".to_owned();
        at_most(
            model,
            depth,
            "messages within messages",
            self.limits.nesting,
        )?;
        while let Some(key) = varint(&mut bytes) {
            let field = kind.field(key >> 3);
            if let Field::Message(Message::Node, _) = field {
                self.nodes += 1;
                at_most(model, self.nodes, "nodes", self.limits.nodes)?;
            }
            let Some(inside) = contents(&mut bytes, key & 7) else {
                return Ok(());
            };
            self.bytes += match (&field, key & 7) {
                (Field::Message(_, size), 2) => GROWTH * *size as u64,
                (Field::Text, 2) => GROWTH * 24 + inside.len() as u64,
                (Field::Integers(size), 2) => {
                    let ends = inside.iter().filter(|&&b| b < 0x80).count();
                    GROWTH * (ends * size) as u64
                }
                (Field::Integers(size), _) => GROWTH * *size as u64,
                _ => inside.len() as u64,
            };
            at_most(
                || "the decoded model".to_owned(),
                self.bytes,
                "bytes",
                self.limits.decoded_bytes,
            )?;
            if let (Field::Message(kind, _), 2) = (field, key & 7) {
                self.message(inside, kind, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn refused(model: &pb::ModelProto, limits: &Limits) -> String {
        let error = check(&model.encode_to_vec(), limits).expect_err("too large");
        error.to_string()
    }

    fn model(graph: pb::GraphProto) -> pb::ModelProto {
        pb::ModelProto {
            graph: Some(graph),
            ..Default::default()
        }
    }

    #[test]
    fn records_of_two_bytes_are_counted_as_what_they_become() {
        let many = model(pb::GraphProto {
            initializer: vec![pb::TensorProto::default(); 10_000],
            ..Default::default()
        });
        assert!(many.encoded_len() < 25_000);
        let mut limits = Limits::default();
        assert_eq!(check(&many.encode_to_vec(), &limits), Ok(()));
        limits.decoded_bytes = 1 << 20;
        let text = refused(&many, &limits);
        assert!(
            text.contains("decoded model") && text.contains("1048576"),
            "{text}"
        );
    }

    #[test]
    fn packed_integers_and_strings_are_counted() {
        let tensor = pb::TensorProto {
            int64_data: vec![1; 1000],
            ..Default::default()
        };
        let limits = Limits {
            decoded_bytes: 10_000,
            ..Limits::default()
        };
        let graph = pb::GraphProto {
            initializer: vec![tensor],
            ..Default::default()
        };
        refused(&model(graph), &limits);
        let node = pb::NodeProto {
            input: vec![String::new(); 1000],
            ..Default::default()
        };
        let graph = pb::GraphProto {
            node: vec![node],
            ..Default::default()
        };
        refused(&model(graph), &limits);
    }

    #[test]
    fn nodes_are_counted_in_nested_graphs_too() {
        let inner = pb::GraphProto {
            node: vec![pb::NodeProto::default(); 3],
            ..Default::default()
        };
        let attribute = pb::AttributeProto {
            g: Some(inner),
            ..Default::default()
        };
        let node = pb::NodeProto {
            attribute: vec![attribute],
            ..Default::default()
        };
        let graph = pb::GraphProto {
            node: vec![node],
            ..Default::default()
        };
        let mut limits = Limits {
            nodes: 4,
            ..Limits::default()
        };
        assert_eq!(
            check(&model(graph.clone()).encode_to_vec(), &limits),
            Ok(())
        );
        limits.nodes = 3;
        assert!(refused(&model(graph), &limits).contains("4 nodes"));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut graph = pb::GraphProto::default();
        for _ in 0..20 {
            let attribute = pb::AttributeProto {
                g: Some(graph),
                ..Default::default()
            };
            let node = pb::NodeProto {
                attribute: vec![attribute],
                ..Default::default()
            };
            graph = pb::GraphProto {
                node: vec![node],
                ..Default::default()
            };
        }
        let text = refused(&model(graph), &Limits::default());
        assert!(
            text.contains("within messages") && text.contains("32"),
            "{text}"
        );
    }
}
