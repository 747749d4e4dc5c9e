package guard

import (
	"reflect"
	"strconv"
	"testing"
)

func TestATableThatWasLargeIsMadeAnewWhenFewAreLeft(t *testing.T) {
	var servers serverTable
	var clients clientTable
	servers.open()
	clients.open()
	for round := range 2 {
		var theirs []*serverTx
		var ours []*clientTx
		for n := range largeTable + 1 {
			theirs, ours = append(theirs, &serverTx{key: strconv.Itoa(n)}), append(ours, &clientTx{key: clientKey{branch: strconv.Itoa(n)}})
			if servers.put(theirs[n]) != nil {
				t.Fatal("the key is taken")
			}
			clients.put(ours[n])
		}
		were := [2]uintptr{reflect.ValueOf(servers.txs).Pointer(), reflect.ValueOf(clients.txs).Pointer()}
		for n := range largeTable {
			servers.drop(theirs[n])
			clients.drop(ours[n])
		}
		if servers.count() != 1 || clients.count() != 1 || reflect.ValueOf(servers.txs).Pointer() == were[0] || reflect.ValueOf(clients.txs).Pointer() == were[1] {
			t.Fatalf("round %d: the tables with %d and %d entries are those that were large", round, servers.count(), clients.count())
		}
		last := strconv.Itoa(largeTable)
		if servers.get([]byte(last)) != theirs[largeTable] || clients.get(clientKey{branch: last}) != ours[largeTable] {
			t.Fatalf("round %d: who is left is lost", round)
		}
		servers.drop(theirs[largeTable])
		clients.drop(ours[largeTable])
	}
}
