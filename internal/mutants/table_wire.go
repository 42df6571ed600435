package main

var wire = []Mutant{}
