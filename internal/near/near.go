// Package near finds the word that somebody meant to type.
package near

import "strings"

// longest is a word's length in bytes beyond which nobody is helped: nobody mistypes a short word into a longer one.
const longest = 40

// Word returns the candidate that takes the fewest typing errors (a letter missing, too many, wrong, or two swapped) to
// become word, and whether it takes few enough: one in a short word, a third of the letters of a longer one. Dashes and
// underscores, and upper and lower case, are the same here.
func Word(word string, candidates []string) (string, bool) {
	if len(word) > longest {
		return "", false
	}
	plain := strings.ReplaceAll(strings.ToLower(word), "-", "_")
	best, least := "", min(max(1, len(plain)/3), len(plain)-1)+1 // never every letter
	for _, c := range candidates {
		if n := distance(plain, strings.ToLower(c)); n < least {
			best, least = c, n
		}
	}
	return best, best != ""
}

// distance counts typing errors between a and b (optimal string alignment), in rows of a table over a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
