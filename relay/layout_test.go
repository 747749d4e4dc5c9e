package relay

import (
	"reflect"
	"testing"

	"tandem/relay/netio"
	"tandem/relay/srtp"
)

const cacheLine = 64 // bytes

func TestTheHotStateOfALegIsSmall(t *testing.T) {
	keys := 2 * reflect.TypeFor[srtp.Schedule]().Size()
	if size := reflect.TypeFor[leg]().Size(); size-keys > 512 || size > 1280 || size%cacheLine != 0 {
		t.Errorf("a leg is %d bytes hot, %d without its key schedules; 1,280 and 512 are allowed, in whole lines", size, size-keys)
	}
	for _, kind := range []struct {
		name string
		size uintptr
		most uintptr
	}{
		{"cold", reflect.TypeFor[cold]().Size(), 768},
		{"rare", reflect.TypeFor[rare]().Size(), 2048},
	} {
		if kind.size > kind.most {
			t.Errorf("the %s part of a leg is %d bytes; %d are allowed", kind.name, kind.size, kind.most)
		}
	}
}

// TestAPacketMeetsItsLegLineByLine holds the order in which the fields are used, and that no group straddles a line.
func TestAPacketMeetsItsLegLineByLine(t *testing.T) {
	kind := reflect.TypeFor[leg]()
	for _, group := range []struct {
		line          uintptr
		first, last   string
		linesOfFields uintptr
	}{
		{0, "peer", "pin", 1},
		{1, "known", "sentBytes", 1},
		{2, "quality", "quality", 1},
		{3, "rx", "rx", 1},
		{4, "tx", "out", 1},
		{5, "rxKey", "rxKey", 6},
		{11, "txKey", "txKey", 6},
	} {
		first, _ := kind.FieldByName(group.first)
		last, found := kind.FieldByName(group.last)
		if !found || first.Offset != group.line*cacheLine {
			t.Errorf("%s begins at byte %d, want line %d", group.first, first.Offset, group.line)
		}
		if end := last.Offset + last.Type.Size(); end > (group.line+group.linesOfFields)*cacheLine {
			t.Errorf("%s ends at byte %d, after its lines", group.last, end)
		}
	}
	if size := reflect.TypeFor[netio.Packet]().Size(); size > 2*cacheLine {
		t.Errorf("a packet's descriptor is %d bytes", size)
	}
}
