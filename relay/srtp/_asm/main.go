// Command _asm writes the assembly of package kernel: one file of kernels, and the file of their Go declarations, a call.
// `go generate ./relay/srtp/kernel` makes all of them. The output depends on nothing but the sources here and the types there.
//
// It is a module of its own so that the product does not depend on the generator.
package main

import (
	"flag"
	"fmt"
	"go/types"
	"os"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
)

func main() {
	set := flag.NewFlagSet("_asm", flag.ExitOnError)
	name := set.String("kernel", "", "which kernels to write: probe, expand, ctr, hmac, hmac4, hmac8, hmac16 or ghash")
	flags := build.NewFlags(set)
	_ = set.Parse(os.Args[1:]) // ends the program on an error
	if err := write(*name, flags); err != nil {
		fmt.Fprintln(os.Stderr, "_asm:", err)
		os.Exit(1)
	}
}

func write(name string, flags *build.Flags) error {
	pkg, err := kernelTypes("../kernel")
	if err != nil {
		return err
	}
	a := &assembler{Context: build.NewContext(), pkg: pkg}
	switch name {
	case "probe":
		probe(a)
	case "expand":
		expand(a)
	case "ctr":
		counterMode(unit{a, narrow}, "ctrAESNI")
		counterMode(unit{a, wide}, "ctrVAES")
		counterMode(unit{a, widest}, "ctrAVX512")
	case "hmac":
		hmac(a)
	case "hmac4":
		hmac4(a)
	case "hmac8":
		hmac8(a)
	case "hmac16":
		hmac16(a)
	case "ghash":
		ghash(unit{a, narrow}, "ghashPCLMULQDQ")
		ghash(unit{a, wide}, "ghashVPCLMULQDQ")
	default:
		return fmt.Errorf("-kernel %q: not one of probe, expand, ctr, hmac, hmac4, hmac8, hmac16, ghash", name)
	}
	if build.Main(flags.Config(), a.Context) != 0 {
		return fmt.Errorf("kernel %s was not written", name)
	}
	return nil
}

// assembler is one output file in the making.
type assembler struct {
	*build.Context
	pkg *types.Package
}

// begin starts a function. Its arguments do not escape, and it needs no stack to grow.
func (a *assembler) begin(name, signature string, doc ...string) {
	a.beginLarge(name, signature, doc...)
	a.Attributes(attr.NOSPLIT)
}

// beginLarge starts a function whose locals are more than the few hundred bytes that every stack has left: it grows first.
func (a *assembler) beginLarge(name, signature string, doc ...string) {
	a.Function(name)
	a.Pragma("noescape")
	a.Doc(doc...)
	parsed, err := gotypes.ParseSignatureInPackage(a.pkg, signature)
	if err != nil {
		panic(err)
	}
	a.Signature(parsed)
}

// data writes a constant, little-endian word after word.
func (a *assembler) data(name string, words ...uint64) operand.Mem {
	at := a.StaticGlobal(name)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, word := range words {
		a.AddDatum(8*i, operand.U64(word))
	}
	return at
}
