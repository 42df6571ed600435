package main

var roster = []Mutant{}
