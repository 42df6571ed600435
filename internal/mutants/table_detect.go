package main

var detect = []Mutant{}
