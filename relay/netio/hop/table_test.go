package hop

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"unsafe"
)

func TestUnknownDestinationIsAskedForAndFoundByALaterPacket(t *testing.T) {
	table := newTestTable(newFakeKernel())
	ip := peer.As16()
	if r, ok := table.Find(0, &ip); ok {
		t.Fatalf("an empty table found %d", r)
	}
	table.settled()
	r, ok := table.Find(0, &ip)
	if !ok || r == 0 {
		t.Fatal("not found after the resolver ran")
	}
	want := Hop{State: Ready, Ifindex: eth0, MTU: 1500, SrcMAC: ourMAC, DstMAC: theirMAC}
	var h Hop
	if g := table.Read(r, &h); h != want || g == 0 || g != table.Generation(r) {
		t.Errorf("Read = %+v, generation %d; want %+v", h, g, want)
	}
}

func TestTheSameDestinationOfTwoAddressesIsTwoHops(t *testing.T) {
	k := newFakeKernel()
	table := newTable(Options{Addresses: []netip.Addr{us, gateway}}, k, discard)
	if a, b := must(t, table, 0, peer), must(t, table, 1, peer); a == b {
		t.Errorf("both slots have hop %d", a)
	}
}

func TestNoRefIsNoHop(t *testing.T) {
	table := newTestTable(newFakeKernel())
	h := Hop{State: Ready}
	if g := table.Read(0, &h); g != 0 || h.State != Unresolved || table.Generation(0) != 0 || table.Probe(0) {
		t.Errorf("Ref 0 reads as %+v, generation %d", h, g)
	}
}

func TestGenerationChangesWithTheHopAndOnlyThen(t *testing.T) {
	table := newTestTable(newFakeKernel())
	r := must(t, table, 0, peer)
	first := table.Generation(r)
	h := read(table, r)
	table.publish(r.index(), &h)
	if g := table.Generation(r); g != first {
		t.Errorf("publishing the same hop moved the generation from %d to %d", first, g)
	}
	for _, change := range []func(*Hop){
		func(h *Hop) { h.State = Policy }, func(h *Hop) { h.Ifindex++ }, func(h *Hop) { h.MTU-- },
		func(h *Hop) { h.SrcMAC[0]++ }, func(h *Hop) { h.DstMAC[5]++ },
	} {
		before := table.Generation(r)
		change(&h)
		table.publish(r.index(), &h)
		if g := table.Generation(r); g == before || g == 0 || read(table, r) != h {
			t.Errorf("generation %d -> %d, read %+v, published %+v", before, g, read(table, r), h)
		}
	}
}

func TestGenerationSkipsZeroWhenItWraps(t *testing.T) {
	table := newTestTable(newFakeKernel())
	table.written = 1<<32 - 2
	if g := uint32(table.following(7<<32 | 1)); g != 2 {
		t.Errorf("generation after the last is %d; want 2", g)
	}
}

func TestTwoHopsNeverHaveTheSameGeneration(t *testing.T) {
	table := newTestTable(newFakeKernel())
	a, b := must(t, table, 0, peer), must(t, table, 0, other)
	if table.Generation(a) == table.Generation(b) {
		t.Errorf("both have generation %d: headers of one would pass for the other's", table.Generation(a))
	}
}

func TestForgottenHopDoesNotAnswerForTheNextOneInItsPlace(t *testing.T) {
	table := newTestTable(newFakeKernel())
	old := must(t, table, 0, peer)
	table.resolver.forget(old.index())
	ip := peer.As16()
	if table.search(0, &ip) != 0 {
		t.Error("a forgotten hop is found")
	}
	if table.Generation(old) != 0 || read(table, old) != (Hop{}) {
		t.Error("a forgotten hop still reads")
	}
	next := must(t, table, 0, other)
	if next.index() != old.index() {
		t.Fatalf("record %d was not used again", old.index())
	}
	if table.Generation(old) != 0 || read(table, old) != (Hop{}) {
		t.Error("the old Ref reads the hop of another destination")
	}
	if read(table, next).State != Ready {
		t.Error("the new Ref does not read")
	}
}

func TestHopBeingWrittenReadsAsUnresolved(t *testing.T) {
	table := newTestTable(newFakeKernel())
	r := must(t, table, 0, peer)
	name := &table.records.records[r.index()].name
	name.Store(name.Load() | 1)
	var h Hop
	if g := table.Read(r, &h); g != 0 || h != (Hop{}) {
		t.Errorf("read %+v with generation %d in the middle of a write", h, g)
	}
}

func TestFullTableRefusesAndCountsUntilAHopIsForgotten(t *testing.T) {
	table := newTestTable(&fakeKernel{})
	var ip [16]byte
	for i := range uint32(MaxHops) {
		table.resolver.admit(destination{slot: 1, ip: numbered(i)})
	}
	last := numbered(MaxHops - 1)
	if table.search(1, &last) == 0 || table.Stats().Hops[Unresolved] != MaxHops {
		t.Fatalf("%d hops; want %d", table.Stats().Hops[Unresolved], MaxHops)
	}
	ip = numbered(MaxHops)
	table.Find(1, &ip)
	table.settled()
	for range 3 {
		if _, ok := table.Find(1, &ip); ok {
			t.Fatal("found in a full table")
		}
	}
	if s := table.Stats(); s.Refused != 4 { // by the resolver, then by Find
		t.Errorf("%d refused; want 4", s.Refused)
	}
	table.resolver.forget(17)
	table.Find(1, &ip)
	table.settled()
	if r, ok := table.Find(1, &ip); !ok || r.index() != 17 {
		t.Errorf("Find = %d, %v after a place became free", r, ok)
	}
}

func TestQuestionsBeyondTheQueueAreDroppedNotWaitedFor(t *testing.T) {
	table := newTestTable(newFakeKernel())
	for i := range uint32(maxPending + 10) {
		ip := numbered(i)
		table.Find(1, &ip)
	}
	var pending [maxPending]destination
	if n := table.take(&pending); n != maxPending {
		t.Errorf("%d pending; want %d", n, maxPending)
	}
	table.mu.Lock()
	ip := peer.As16()
	table.Find(0, &ip) // would hang if it waited
	table.mu.Unlock()
	if n := table.take(&pending); n != 0 {
		t.Errorf("%d pending after the lock was taken; want 0", n)
	}
}

// FuzzTable enters and forgets destinations and compares the index with a map.
func FuzzTable(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1, 2, 3})
	f.Add([]byte("a long sequence of destinations, some twice, some gone, some back"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		table := newTestTable(&fakeKernel{})
		known := make(map[destination]Ref)
		for _, op := range ops {
			d := destination{slot: int(op & 1), ip: numbered(uint32(op >> 1))}
			if r, ok := known[d]; ok {
				table.resolver.forget(r.index())
				delete(known, d)
				if table.Generation(r) != 0 {
					t.Fatalf("%v: its Ref outlives it", d)
				}
			} else {
				table.resolver.admit(d)
				known[d] = table.search(d.slot, &d.ip)
			}
			for d, r := range known {
				if got := table.search(d.slot, &d.ip); got != r || r == 0 {
					t.Fatalf("%v is found as %d; want %d", d, got, r)
				}
			}
		}
	})
}

// TestClosingGapsKeepsClustersWhole puts many records into one neighbourhood of the index and takes them out in another
// order: every search must still end at its record.
func TestClosingGapsKeepsClustersWhole(t *testing.T) {
	table := newTestTable(&fakeKernel{})
	const count = 40_000 // of 131,072 entries: clusters of several
	for i := range uint32(count) {
		table.resolver.admit(destination{slot: 1, ip: numbered(i)})
	}
	for i := uint32(0); i < count; i += 3 {
		ip := numbered(i)
		table.resolver.forget(table.search(1, &ip).index())
	}
	for i := range uint32(count) {
		ip := numbered(i)
		if found := table.search(1, &ip) != 0; found != (i%3 != 0) {
			t.Fatalf("destination %d: found %v", i, found)
		}
	}
}

// TestReadersNeverSeeHalfAHop has the writer publish hops whose fields all carry one number.
func TestReadersNeverSeeHalfAHop(t *testing.T) {
	table := newTestTable(newFakeKernel())
	r := must(t, table, 0, peer)
	first := table.Generation(r)
	ip := peer.As16()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var h Hop
				if g := table.Read(r, &h); g != 0 && g != first {
					n := byte(h.Ifindex)
					same := [6]byte{n, n, n, n, n, n}
					if h.SrcMAC != same || h.DstMAC != same || h.MTU != int32(n) {
						t.Errorf("half a hop: %+v", h)
						return
					}
				}
				if found, ok := table.Find(0, &ip); ok && found != r {
					t.Errorf("found as %d; want %d", found, r)
					return
				}
			}
		})
	}
	for i := range 50_000 {
		n := byte(i)
		mac := [6]byte{n, n, n, n, n, n}
		table.publish(r.index(), &Hop{State: Ready, Ifindex: int32(n), MTU: int32(n), SrcMAC: mac, DstMAC: mac})
	}
	close(stop)
	readers.Wait()
}

func TestARecordIsOneCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size != 64 {
		t.Errorf("a record has %d bytes; want 64", size)
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	table := newTestTable(newFakeKernel())
	r := must(t, table, 0, peer)
	ip, unknown := peer.As16(), other.As16()
	var h Hop
	for name, f := range map[string]func(){
		"Find":           func() { table.Find(0, &ip) },
		"Find unknown":   func() { table.Find(0, &unknown) },
		"Generation":     func() { table.Generation(r) },
		"Read":           func() { table.Read(r, &h) },
		"Read forgotten": func() { table.Read(r+1<<16, &h) },
		"Probe":          func() { table.records.records[r.index()].probe.Store(1); table.Probe(r) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	table.full.Store(true)
	if n := testing.AllocsPerRun(100, func() { table.Find(0, &unknown) }); n != 0 {
		t.Errorf("Find in a full table allocates %v times", n)
	}
}

func BenchmarkFind(b *testing.B) {
	table := newTestTable(&fakeKernel{})
	for i := range uint32(20_000) {
		table.resolver.admit(destination{slot: 1, ip: numbered(i)})
	}
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		ip := numbered(i % 20_000)
		if _, ok := table.Find(1, &ip); !ok {
			b.Fatal("not found")
		}
		i += 7919
	}
}

// BenchmarkCheck is what a frame costs when nothing has changed: the generation, and whether to probe.
func BenchmarkCheck(b *testing.B) {
	table := newTestTable(newFakeKernel())
	ip := peer.As16()
	table.Find(0, &ip)
	table.settled()
	r, _ := table.Find(0, &ip)
	b.ReportAllocs()
	for b.Loop() {
		if table.Generation(r) == 0 || table.Probe(r) {
			b.Fatal("the hop changed")
		}
	}
}

func BenchmarkRead(b *testing.B) {
	table := newTestTable(newFakeKernel())
	ip := peer.As16()
	table.Find(0, &ip)
	table.settled()
	r, _ := table.Find(0, &ip)
	var h Hop
	b.ReportAllocs()
	for b.Loop() {
		if table.Read(r, &h) == 0 {
			b.Fatal("the hop changed")
		}
	}
}

// numbered returns the i-th of many IPv6 addresses.
func numbered(i uint32) [16]byte {
	ip := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint32(ip[12:], i)
	return ip
}
