package main

var placement = []Mutant{}
