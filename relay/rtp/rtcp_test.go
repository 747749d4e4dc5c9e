package rtp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"tandem/relay/verdict"
)

// SSRCs of the tests: the packet's sender and the media it reports about, on either side of the relay.
const (
	senderIn  = 0x11111111
	senderOut = 0x22222222
	mediaOut  = 0x33333333
	mediaIn   = 0x44444444
	stranger  = 0x55555555
	offset    = 1000
)

var mapping = Mapping{SenderIn: senderIn, SenderOut: senderOut, MediaOut: mediaOut, MediaIn: mediaIn, SeqOffset: offset}

// rtcp builds one packet: header with count and type, then the words. Its length is what it is.
func rtcp(count, typ byte, words ...uint32) []byte {
	b := []byte{0x80 | count, typ, byte(len(words) >> 8), byte(len(words))}
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// compound joins packets.
func compound(packets ...[]byte) []byte { return bytes.Join(packets, nil) }

// report is the six words of a report block.
func report(ssrc, high uint32) []uint32 { return []uint32{ssrc, 0x05000007, high, 33, 0xabcd, 0x1234} }

// words joins words and lists of words.
func words(parts ...any) []uint32 {
	var all []uint32
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			all = append(all, uint32(p))
		case uint32:
			all = append(all, p)
		case []uint32:
			all = append(all, p...)
		case string:
			for i := 0; i < len(p); i += 4 {
				all = append(all, binary.BigEndian.Uint32([]byte(p[i:])))
			}
		default:
			panic("neither words nor text")
		}
	}
	return all
}

func TestCompoundIsJudgedByItsLengths(t *testing.T) {
	rr := rtcp(0, typeRR, senderIn)
	padded := func(last byte) []byte {
		b := rtcp(0, typeRR, senderIn, 0)
		b[0] |= 0x20
		b[len(b)-1] = last
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want verdict.Verdict
	}{
		"empty receiver report":               {rr, verdict.Forward},
		"report and description":              {compound(rr, rtcp(1, typeSDES, words(senderIn, "\x01\x02ab")...)), verdict.Forward},
		"reduced size, feedback alone":        {rtcp(1, typePSFB, senderIn, mediaOut), verdict.Forward},
		"unknown type":                        {rtcp(3, 223, senderIn), verdict.Forward},
		"empty goodbye after a report":        {compound(rr, rtcp(0, typeBYE)), verdict.Forward},
		"four bytes of padding":               {padded(4), verdict.Forward},
		"padding of the whole body":           {padded(8), verdict.Forward},
		"nothing":                             {nil, verdict.TooShort},
		"four bytes":                          {rtcp(0, typeBYE), verdict.TooShort},
		"seven bytes":                         {rr[:7], verdict.TooShort},
		"length past the end":                 {rtcp(0, typeRR, senderIn, 1)[:8], verdict.BadRTCP},
		"bytes left over":                     {append(bytes.Clone(rr), 0), verdict.BadRTCP},
		"second packet cut":                   {compound(rr, rtcp(0, typeRR, senderIn)[:7]), verdict.BadRTCP},
		"version 1":                           {append([]byte{0x40}, rr[1:]...), verdict.BadRTCP},
		"version 0 in the second":             {compound(rr, []byte{0, typeBYE, 0, 0}), verdict.BadRTCP},
		"padding in the first of two":         {compound(padded(4), rr), verdict.BadRTCP},
		"padding of no bytes":                 {padded(0), verdict.BadRTCP},
		"padding of three bytes":              {padded(3), verdict.BadRTCP},
		"padding over the header":             {padded(12), verdict.BadRTCP},
		"padding bit on a packet of a header": {compound(rr, []byte{0xa0, typeBYE, 0, 0}), verdict.BadRTCP},
	} {
		if got := ParseRTCP(c.b); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNumbersOfAReBasedStreamAreToldAsItsSenderKnowsThem(t *testing.T) {
	info := words(0xe0000000, 0x80000000, 160, 50, 8000)
	for name, c := range map[string]struct{ in, want []byte }{
		"sender report about two streams": {
			rtcp(2, typeSR, words(senderIn, info, report(mediaOut, 1<<16+1500), report(stranger, 1500))...),
			rtcp(2, typeSR, words(senderOut, info, report(mediaIn, 1<<16+500), report(stranger, 1500))...)},
		"receiver report": {
			rtcp(1, typeRR, words(senderIn, report(mediaOut, 2<<16+500))...),
			rtcp(1, typeRR, words(senderOut, report(mediaIn, 1<<16+65036))...)},
		"report of somebody else": {
			rtcp(1, typeRR, words(stranger, report(stranger, 9))...),
			rtcp(1, typeRR, words(stranger, report(stranger, 9))...)},
		"profile extension after the blocks": {
			rtcp(1, typeRR, words(senderIn, report(mediaOut, 2000), mediaOut, 2000)...),
			rtcp(1, typeRR, words(senderOut, report(mediaIn, 1000), mediaOut, 2000)...)},
		"description of two sources": {
			rtcp(3, typeSDES, words(stranger, "\x01\x03abc\x00\x00\x00", senderIn, "\x01\x02ab\x00\x00\x00\x00", senderIn, "\x01\x01a\x00")...),
			rtcp(3, typeSDES, words(stranger, "\x01\x03abc\x00\x00\x00", senderOut, "\x01\x02ab\x00\x00\x00\x00", senderOut, "\x01\x01a\x00")...)},
		"description with an empty chunk": {
			rtcp(2, typeSDES, words(senderIn, 0, senderIn, 0)...),
			rtcp(2, typeSDES, words(senderOut, 0, senderOut, 0)...)},
		"goodbye of two sources with a reason": {
			rtcp(2, typeBYE, words(senderIn, stranger, "\x03end")...),
			rtcp(2, typeBYE, words(senderOut, stranger, "\x03end")...)},
		"application": {
			rtcp(1, typeAPP, words(senderIn, "name", mediaOut)...),
			rtcp(1, typeAPP, words(senderOut, "name", mediaOut)...)},
		"generic NACK": {
			rtcp(1, typeRTPFB, words(senderIn, mediaOut, 1010<<16|0x8001, 999<<16)...),
			rtcp(1, typeRTPFB, words(senderOut, mediaIn, 10<<16|0x8001, 65535<<16)...)},
		"generic NACK about another stream": {
			rtcp(1, typeRTPFB, words(senderIn, stranger, 1010<<16)...),
			rtcp(1, typeRTPFB, words(senderOut, stranger, 1010<<16)...)},
		"other transport feedback keeps its contents": {
			rtcp(15, typeRTPFB, words(senderIn, mediaOut, 1010<<16)...),
			rtcp(15, typeRTPFB, words(senderOut, mediaIn, 1010<<16)...)},
		"picture loss": {
			rtcp(1, typePSFB, senderIn, mediaOut),
			rtcp(1, typePSFB, senderOut, mediaIn)},
		"extended report: loss, receipt, statistics, VoIP, DLRR": {
			rtcp(0, typeXR, words(senderIn,
				xrLossRLE<<24|3, mediaOut, 1000<<16|1100, 0x80000000,
				xrReceipts<<24|2, stranger, 1000<<16|1100,
				4<<24|2, 1, 2, // receiver reference time
				xrStatistics<<24|2, mediaOut, 2000<<16|2001,
				xrVoIP<<24|1, mediaOut,
				xrDLRR<<24|6, mediaOut, 7, 8, stranger, 7, 8)...),
			rtcp(0, typeXR, words(senderOut,
				xrLossRLE<<24|3, mediaIn, 0<<16|100, 0x80000000,
				xrReceipts<<24|2, stranger, 1000<<16|1100,
				4<<24|2, 1, 2,
				xrStatistics<<24|2, mediaIn, 1000<<16|1001,
				xrVoIP<<24|1, mediaIn,
				xrDLRR<<24|6, mediaIn, 7, 8, stranger, 7, 8)...)},
		"unknown type": {
			rtcp(1, 195, senderIn, mediaOut),
			rtcp(1, 195, senderIn, mediaOut)},
	} {
		if fate := ParseRTCP(c.in); fate != verdict.Forward {
			t.Fatalf("%s: the test's packet is %s", name, fate)
		}
		rest := rtcp(1, typeBYE, senderIn) // the walk goes on behind it
		got := compound(c.in, rest)
		RewriteRTCP(got, &mapping)
		if want := compound(c.want, rtcp(1, typeBYE, senderOut)); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

func TestCountsThatLieStayInsideTheirPacket(t *testing.T) {
	for name, in := range map[string][]byte{
		"31 report blocks in one word":   rtcp(31, typeRR, stranger),
		"31 sender blocks without info":  rtcp(31, typeSR, stranger),
		"31 goodbyes in one word":        rtcp(31, typeBYE, stranger),
		"31 chunks, item past the end":   rtcp(31, typeSDES, words(stranger, "\x01\xffab")...),
		"item without a length":          rtcp(2, typeSDES, words(stranger, "\x01\x01a\x01")...),
		"extended block past the end":    rtcp(0, typeXR, words(stranger, xrLossRLE<<24|9, stranger)...),
		"loss block of one word":         rtcp(0, typeXR, words(stranger, xrLossRLE<<24)...),
		"feedback without a source":      rtcp(1, typeRTPFB, stranger),
		"feedback of a header alone":     rtcp(1, typeRTPFB),
		"a report block of padding":      {0xa1, typeRR, 0, 2, 0x55, 0x55, 0x55, 0x55, 0, 0, 0, 4},
		"padding that lies":              {0xa1, typeBYE, 0, 1, 0x11, 0x11, 0x11, 0x11},
		"not even a whole first packet":  {0x80, typeRR, 0xff, 0xff, 0x11, 0x11, 0x11, 0x11},
		"description of a header alone":  rtcp(5, typeSDES),
		"application of a header alone":  rtcp(5, typeAPP),
		"report of a header alone":       rtcp(5, typeRR),
		"extended report without source": rtcp(0, typeXR),
	} {
		// What lies behind the packet is all mapped SSRCs: a step too far would change it.
		behind := bytes.Repeat([]byte{0x11, 0x11, 0x11, 0x11, 0x33, 0x33, 0x33, 0x33}, 300)
		got := append(bytes.Clone(in), behind...)
		RewriteRTCP(got[:len(in)], &mapping)
		if !bytes.Equal(got, append(bytes.Clone(in), behind...)) {
			t.Errorf("%s: changed to %x", name, got[:len(in)])
		}
	}
}

// TestReportsCountOnAcrossTheWrapOfEitherSide lets a stream run over several wraps of the sequence numbers with every kind
// of offset: what its sender reads must grow by what it sent, and end in its own sequence number.
func TestReportsCountOnAcrossTheWrapOfEitherSide(t *testing.T) {
	for _, shift := range []uint16{1, 100, 32767, 32768, 40000, 65000, 65535} {
		m := Mapping{MediaOut: mediaOut, MediaIn: mediaIn, SeqOffset: shift}
		const step = 997
		start := uint16(65000)
		seen := uint32(start + shift) // the receiver's first extended number: cycle 0
		var before uint32
		for i := range uint32(300) {
			b := rtcp(1, typeRR, words(stranger, report(mediaOut, seen+i*step))...)
			RewriteRTCP(b, &m)
			told := binary.BigEndian.Uint32(b[rrBlocks+blockHigh:])
			if want := start + uint16(i*step); uint16(told) != want {
				t.Fatalf("offset %d: told sequence %d, the sender sent %d", shift, uint16(told), want)
			}
			if i > 0 && told-before != step {
				t.Fatalf("offset %d, report %d: grew by %d, want %d", shift, i, told-before, step)
			}
			before = told
		}
	}
}

func TestZeroMappingChangesNothing(t *testing.T) {
	in := compound(rtcp(1, typeRR, words(0, report(0, 7))...), rtcp(1, typeRTPFB, 0, 0, 7<<16))
	got := bytes.Clone(in)
	RewriteRTCP(got, &Mapping{})
	if !bytes.Equal(got, in) {
		t.Fatalf("%x, want %x", got, in)
	}
}

func TestRTCPDoesNotAllocate(t *testing.T) {
	good := compound(rtcp(1, typeRR, words(senderIn, report(mediaOut, 9))...), rtcp(1, typeSDES, words(senderIn, "\x01\x02ab", 0)...))
	m := mapping
	if n := testing.AllocsPerRun(100, func() {
		ParseRTCP(good[:7])
		ParseRTCP(good[:9])
		ParseRTCP(good)
		RewriteRTCP(good, &m)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzRTCP checks that rewriting keeps a compound's frame (every header byte and the verdict), stays inside it, and is undone
// by the opposite mapping.
func FuzzRTCP(f *testing.F) {
	f.Add(rtcp(1, typeRR, words(senderIn, report(mediaOut, 70000))...))
	f.Add(compound(rtcp(0, typeSR, words(senderIn, 1, 2, 3, 4, 5)...), rtcp(1, typeSDES, words(senderIn, "\x01\x02ab", 0)...)))
	f.Add(compound(rtcp(1, typeRTPFB, senderIn, mediaOut, 5<<16), rtcp(2, typeBYE, senderIn, stranger)))
	f.Add(rtcp(0, typeXR, words(senderIn, xrLossRLE<<24|2, mediaOut, 1000<<16|1100, xrDLRR<<24|3, mediaOut, 7, 8)...))
	f.Add(rtcp(31, typeSDES, words(senderIn, "\x01\xffab")...))
	f.Fuzz(func(t *testing.T, in []byte) {
		fate := ParseRTCP(in)
		got := append(bytes.Clone(in), bytes.Repeat([]byte{0x11}, 64)...)
		RewriteRTCP(got[:len(in):len(in)], &mapping)
		if !bytes.Equal(got[len(in):], bytes.Repeat([]byte{0x11}, 64)) {
			t.Fatal("wrote behind the packet")
		}
		got = got[:len(in)]
		if after := ParseRTCP(got); fate == verdict.Forward && after != fate {
			t.Fatalf("a good compound became %s", after)
		}
		for at := 0; fate == verdict.Forward && at < len(in); at += rtcpLen(in[at:]) {
			if !bytes.Equal(in[at:at+4], got[at:at+4]) {
				t.Fatalf("header at %d changed", at)
			}
		}
		if !bytes.Contains(in, []byte{0x22, 0x22, 0x22, 0x22}) && !bytes.Contains(in, []byte{0x44, 0x44, 0x44, 0x44}) {
			back := Mapping{SenderIn: senderOut, SenderOut: senderIn, MediaOut: mediaIn, MediaIn: mediaOut, SeqOffset: ^uint16(offset) + 1}
			RewriteRTCP(got, &back)
			if !bytes.Equal(got, in) {
				t.Fatalf("there and back: %x, want %x", got, in)
			}
		}
	})
}

func BenchmarkRewriteRTCP(b *testing.B) {
	p := compound(rtcp(1, typeSR, words(senderIn, 1, 2, 3, 4, 5, report(mediaOut, 9))...), rtcp(1, typeSDES, words(senderIn, "\x01\x02ab", 0)...))
	m := mapping
	b.ReportAllocs()
	for b.Loop() {
		if ParseRTCP(p) != verdict.Forward {
			b.Fatal("bad compound")
		}
		RewriteRTCP(p, &m)
	}
}
