// Package wire holds the bytes that nodes exchange and store: every frame,
// message and record, each with a format version. It knows how they look,
// not what they are for.
//
// Encoders append to a slice and cannot fail. Decoders take bytes from
// anybody: they never panic and allocate no more than a small multiple of
// what they were given. What they return beside an error is of no use. Formats
// are msgpack, except the header of a packet, where each byte counts.
//
// What a format is made of stands once, in its method codeFields: one call of the
// codec for each field, in their order, for writing and reading alike.
package wire
