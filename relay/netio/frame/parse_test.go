package frame

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

// sample is the frame of a datagram, and what is in it.
func sample(v6 bool, payload string) ([]byte, Datagram) {
	src, dst := netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("198.18.0.1")
	if v6 {
		src, dst = netip.MustParseAddr("2001:2::2"), netip.MustParseAddr("2001:2::1")
	}
	var t Template
	t.Set(&Flow{DstMAC: MAC{2, 1}, SrcMAC: MAC{2, 2}, Src: src.As16(), Dst: dst.As16(), SrcPort: 4000, DstPort: 20000, DSCP: 46})
	b := append(make([]byte, t.Len()), payload...)
	t.Put(b)
	return b, Datagram{Src: src.As16(), Dst: dst.As16(), SrcPort: 4000, DstPort: 20000, Start: t.Len(), Len: len(payload)}
}

func TestParseReadsWhatATemplateWrote(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, payload := range []string{"", "x", "a packet of a call"} {
			b, want := sample(v6, payload)
			var got Datagram
			if !Parse(append(b, make([]byte, 18)...), &got) || got != want { // with the padding of short frames behind
				t.Errorf("IPv6 %v, %q: %+v, want %+v", v6, payload, got, want)
			}
			tagged := append(make([]byte, TagSize), b...)
			Tag(tagged, 7)
			want.VLAN, want.Start = 7, want.Start+TagSize
			if !Parse(tagged, &got) || got != want || !bytes.Equal(tagged[:12], b[:12]) {
				t.Errorf("tagged, IPv6 %v, %q: %+v, want %+v", v6, payload, got, want)
			}
		}
	}
}

func TestParseRefusesEveryFrameThatIsCutShort(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		b, _ := sample(v6, "payload")
		var d Datagram
		for n := range b {
			if Parse(b[:n], &d) {
				t.Errorf("IPv6 %v: %d of %d bytes are a datagram", v6, n, len(b))
			}
		}
	}
}

func TestParseRefusesWhatIsNoPlainDatagram(t *testing.T) {
	v4, _ := sample(false, "payload")
	v6, _ := sample(true, "payload")
	for name, c := range map[string]struct {
		frame []byte
		at    int
		put   []byte
	}{
		"ARP":                     {v4, 12, []byte{8, 6}},
		"a second tag":            {v4, 12, []byte{0x81, 0, 0, 1, 0x81, 0}},
		"IPv4 with options":       {v4, 14, []byte{0x46}},
		"a first fragment":        {v4, 20, []byte{0x20, 0}},
		"a last fragment":         {v4, 20, []byte{0, 1}},
		"TCP":                     {v4, 23, []byte{6}},
		"more IPv4 than there is": {v4, 16, []byte{1, 0}},
		"less IPv4 than headers":  {v4, 16, []byte{0, 27}},
		"more UDP than IPv4":      {v4, 38, []byte{0, 16}},
		"less UDP than a header":  {v4, 38, []byte{0, 7}},
		"another version":         {v6, 14, []byte{0x40}},
		"an extension header":     {v6, 20, []byte{43}},
		"more IPv6 than there is": {v6, 18, []byte{1, 0}},
		"a jumbogram":             {v6, 18, []byte{0, 0}},
		"more UDP than IPv6":      {v6, 58, []byte{0, 16}},
	} {
		b := slices.Clone(c.frame)
		copy(b[c.at:], c.put)
		var d Datagram
		if Parse(b, &d) {
			t.Errorf("%s: taken for %+v", name, d)
		}
	}
}

// FuzzParse holds that what is found lies in the frame, and that a frame made of it says the same.
func FuzzParse(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		b, _ := sample(v6, "payload")
		f.Add(b)
		f.Add(append(b, 0, 0, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, again Datagram
		if !Parse(b, &d) {
			return
		}
		if d.Start < Size4 || d.Len < 0 || d.Start+d.Len > len(b) {
			t.Fatalf("%+v in %d bytes", d, len(b))
		}
		var to Template
		to.Set(&Flow{Src: d.Src, Dst: d.Dst, SrcPort: d.SrcPort, DstPort: d.DstPort})
		if to.Len() == 0 {
			return // an IPv6 header with an IPv4-mapped address in it: no flow of ours
		}
		out := append(make([]byte, to.Len()), b[d.Start:d.Start+d.Len]...)
		to.Put(out)
		d.VLAN, d.Start = 0, to.Len()
		if !Parse(out, &again) || again != d {
			t.Errorf("%+v became %+v", d, again)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		b.Run(name, func(b *testing.B) {
			data, _ := sample(v6, string(make([]byte, 182)))
			var d Datagram
			for b.Loop() {
				if !Parse(data, &d) {
					b.Fatal("refused")
				}
			}
		})
	}
}
