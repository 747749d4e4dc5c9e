package frame

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"
	"unsafe"
)

func flow(src, dst string, dscp uint8) *Flow {
	return &Flow{
		SrcMAC: MAC{2, 0, 0, 0, 0, 1}, DstMAC: MAC{2, 0, 0, 0, 0, 2},
		Src: netip.MustParseAddr(src).As16(), Dst: netip.MustParseAddr(dst).As16(),
		SrcPort: 30000, DstPort: 40001, DSCP: dscp,
	}
}

var flows = map[string]*Flow{
	"IPv4":          flow("198.18.0.1", "198.19.255.254", 0),
	"IPv4 EF":       flow("198.18.0.1", "198.18.0.2", 46),
	"IPv4 all ones": flow("255.255.255.255", "255.255.255.255", 63),
	"IPv6":          flow("2001:db8::1", "2001:db8:ffff::2", 0),
	"IPv6 EF":       flow("2001:db8::1", "2001:db8::2", 46),
	"IPv6 CS7":      flow("ffff:ffff::ffff", "ffff:ffff::ffff", 63),
}

// put returns a whole frame around the payload; the room for the headers is full of what was there before.
func put(t *Template, payload []byte) []byte {
	frame := append(bytes.Repeat([]byte{0xa5}, t.Len()), payload...)
	t.Put(frame)
	return frame
}

func TestFrameIsWhatAStrictReceiverTakes(t *testing.T) {
	for name, f := range flows {
		var template Template
		template.Set(f)
		for _, size := range []int{0, 1, 12, 13, 172, 182, 183, 1200} {
			payload := bytes.Repeat([]byte{0x5a, 0xff, 0x01}, 400)[:size]
			frame := put(&template, payload)
			if problem := check(f, frame, payload); problem != "" {
				t.Errorf("%s, %d bytes: %s\n% x", name, size, problem, frame[:template.Len()])
			}
		}
	}
}

func TestTemplateOfTwoFamiliesIsNone(t *testing.T) {
	var template Template
	template.Set(flow("198.18.0.1", "198.18.0.2", 0))
	template.Set(flow("198.18.0.1", "2001:db8::1", 0))
	if template != (Template{}) || template.Len() != 0 {
		t.Errorf("Len = %d; want 0", template.Len())
	}
}

func TestPutOfNoTemplateWritesNothing(t *testing.T) {
	var none Template
	if frame := put(&none, []byte("payload")); string(frame) != "payload" {
		t.Errorf("%q", frame)
	}
}

func TestUDPChecksumOfZeroIsSentAsAllOnes(t *testing.T) {
	for name, f := range flows {
		var template Template
		template.Set(f)
		// Whatever the checksum over 0000 is, adding it to the payload makes the sum all ones and the checksum 0.
		frame := put(&template, []byte{0, 0})
		frame = put(&template, append([]byte(nil), frame[template.Len()-2:template.Len()]...))
		if got := binary.BigEndian.Uint16(frame[template.Len()-2:]); got != 0xffff {
			t.Errorf("%s: checksum %#04x; want 0xffff", name, got)
		}
	}
}

func TestTemplateIsPlainMemoryWithinItsBudget(t *testing.T) {
	if size := unsafe.Sizeof(Template{}); size > 80 {
		t.Errorf("a template has %d bytes; want at most 80", size)
	}
	for i := range reflect.TypeFor[Template]().NumField() {
		field := reflect.TypeFor[Template]().Field(i)
		switch field.Type.Kind() {
		case reflect.Array, reflect.Uint8, reflect.Uint32:
		default:
			t.Errorf("field %s is a %s", field.Name, field.Type)
		}
	}
}

func TestPutAndSetDoNotAllocate(t *testing.T) {
	frame := make([]byte, Size6+172)
	var template Template
	for name, f := range flows {
		if n := testing.AllocsPerRun(100, func() {
			template.Set(f)
			template.Put(frame)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzPut(f *testing.F) {
	for _, one := range flows {
		f.Add(one.Src[:], one.Dst[:], one.SrcPort, one.DstPort, one.DSCP, []byte("a payload"))
	}
	f.Fuzz(func(t *testing.T, src, dst []byte, srcPort, dstPort uint16, dscp uint8, payload []byte) {
		one := Flow{SrcPort: srcPort, DstPort: dstPort, DSCP: dscp & 63}
		copy(one.Src[:], src)
		copy(one.Dst[:], dst)
		var template Template
		template.Set(&one)
		if template.Len() == 0 || len(payload) > 65000 {
			return
		}
		if problem := check(&one, put(&template, payload), payload); problem != "" {
			t.Error(problem)
		}
	})
}

// check reads a frame as a receiver would and says what is wrong with it.
func check(f *Flow, frame, payload []byte) string {
	src, dst := netip.AddrFrom16(f.Src).Unmap().AsSlice(), netip.AddrFrom16(f.Dst).Unmap().AsSlice()
	if !bytes.Equal(frame[0:6], f.DstMAC[:]) || !bytes.Equal(frame[6:12], f.SrcMAC[:]) {
		return "wrong Ethernet addresses"
	}
	etherType, ip := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	var udp []byte
	if len(src) == 4 {
		switch {
		case etherType != 0x0800 || ip[0] != 0x45:
			return "not an IPv4 header of 20 bytes"
		case ip[1] != f.DSCP<<2:
			return "wrong DSCP, or ECN set"
		case int(binary.BigEndian.Uint16(ip[2:])) != len(ip):
			return "wrong total length"
		case binary.BigEndian.Uint32(ip[4:]) != 0x4000:
			return "not an atomic datagram: identification 0, DF"
		case ip[8] != 64 || ip[9] != 17:
			return "wrong TTL or protocol"
		case naive(ip[:20]) != 0:
			return "wrong header checksum"
		case !bytes.Equal(ip[12:16], src) || !bytes.Equal(ip[16:20], dst):
			return "wrong addresses"
		}
		udp = ip[20:]
	} else {
		switch {
		case etherType != 0x86dd || binary.BigEndian.Uint32(ip) != 6<<28|uint32(f.DSCP)<<22:
			return "not an IPv6 header with that DSCP and flow label 0"
		case int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-40:
			return "wrong payload length"
		case ip[6] != 17 || ip[7] != 64:
			return "wrong next header or hop limit"
		case !bytes.Equal(ip[8:24], src) || !bytes.Equal(ip[24:40], dst):
			return "wrong addresses"
		}
		udp = ip[40:]
	}
	switch {
	case binary.BigEndian.Uint16(udp) != f.SrcPort || binary.BigEndian.Uint16(udp[2:]) != f.DstPort:
		return "wrong ports"
	case int(binary.BigEndian.Uint16(udp[4:])) != len(udp):
		return "wrong UDP length"
	case binary.BigEndian.Uint16(udp[6:]) == 0:
		return "no UDP checksum"
	case naive(append(pseudoHeader(src, dst, len(udp)), udp...)) != 0:
		return "wrong UDP checksum"
	case !bytes.Equal(udp[8:], payload):
		return "the payload was changed"
	}
	return ""
}

func BenchmarkPut(b *testing.B) {
	for _, name := range []string{"IPv4", "IPv6"} {
		b.Run(name, func(b *testing.B) {
			var template Template
			template.Set(flows[name])
			frame := make([]byte, template.Len()+182)
			b.ReportAllocs()
			for b.Loop() {
				template.Put(frame)
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	var template Template
	b.ReportAllocs()
	for b.Loop() {
		template.Set(flows["IPv4"])
	}
}
